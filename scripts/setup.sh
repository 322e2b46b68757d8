#!/bin/sh
# Makes .venv from requirements/dev.txt: every package by its hash, then this checkout, editable.
set -eu
PYTHON=${PYTHON:-python3}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "codecage needs Python 3.11 or later; $PYTHON is $("$PYTHON" -V). Try: make PYTHON=python3.11" >&2
    exit 1
}
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian splits venv off from Python; root can have it, others are told.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing python3-venv ..." >&2
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    else
        echo "Python's venv module is missing; as root: apt-get install python3-venv" >&2
        exit 1
    fi
fi
# The tests of the review page ask a browser; without one they are skipped, and say so.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromedriver >/dev/null; then
    echo "Installing chromium for the tests of the review page ..." >&2
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver fonts-liberation >/dev/null; } || echo "There is no chromium here; its tests will be skipped." >&2
fi
echo "Setting up .venv (locked dependencies, about a minute) ..." >&2
rm -f .venv/.ready
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement requirements/dev.txt
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation --editable .
# Servers do not write bytecode, so it is written here, as an installed wheel would have it.
.venv/bin/python -m compileall -q agent_client executor policy proto/codecage
touch .venv/.ready
