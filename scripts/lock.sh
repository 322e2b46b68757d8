#!/bin/sh
# Writes the lock files: hashes, and no address of any index.
set -eu
compile() {
    .venv/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-emit-trusted-host --strip-extras --allow-unsafe --no-header "$@" pyproject.toml
}
compile --extra server --extra dev --output-file requirements/dev.txt
compile --extra server --constraint requirements/dev.txt --output-file requirements/server.txt
