#!/bin/sh
# Writes the lock files: hashes, and no address of any index.
set -eu
compile() {
    "$@" --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --strip-extras --allow-unsafe --no-header
}
compile .venv/bin/pip-compile --extra server --extra review --extra otel --extra parquet --extra bench --extra dev \
    --output-file requirements/dev.txt pyproject.toml
compile .venv/bin/pip-compile --extra server --constraint requirements/dev.txt \
    --output-file requirements/server.txt pyproject.toml
compile .venv/bin/pip-compile --output-file requirements/bench-peers.txt requirements/bench-peers.in
# One peer needs Python 3.12, and its lock is made by one: PYTHON312=/path/to/python sh scripts/lock.sh
if [ -n "${PYTHON312:-}" ]; then
    room=$(mktemp -d)
    "$PYTHON312" -m venv "$room"
    "$room/bin/pip" install --quiet pip-tools
    compile "$room/bin/pip-compile" --output-file requirements/bench-peers-312.txt \
        requirements/bench-peers-312.in
    rm -r "$room"
fi
