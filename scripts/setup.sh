#!/bin/sh
# Makes .venv from requirements/dev.txt: every package by its hash, then this checkout, editable.
set -eu

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# The distribution's own Python, where it is recent enough: it was built with a profile of real
# programs, and server, workers and client take 0.7 to 0.8 of the time that they take with one
# that was compiled without, as version managers do. PYTHON=... chooses another.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if is_recent /usr/bin/python3 && { makes_venvs /usr/bin/python3 || ! makes_venvs python3; }; then
        PYTHON=/usr/bin/python3
    fi
fi
is_recent "$PYTHON" || {
    echo "codecage needs Python 3.11 or later; $PYTHON is $("$PYTHON" -V). Try: make PYTHON=python3.11" >&2
    exit 1
}
if [ ! -x .venv/bin/python ] && ! makes_venvs "$PYTHON"; then
    # Debian splits venv off from Python; root can have it, others are told.
    if can_install; then
        echo "Installing python3-venv ..." >&2
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    else
        echo "Python's venv module is missing; as root: apt-get install python3-venv" >&2
        exit 1
    fi
fi
# The tests of the review page ask a browser; without one they are skipped, and say so.
if can_install && ! command -v chromedriver >/dev/null; then
    echo "Installing chromium for the tests of the review page ..." >&2
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver fonts-liberation >/dev/null; } || echo "There is no chromium here; its tests will be skipped." >&2
fi
echo "Setting up .venv (locked dependencies, about a minute) ..." >&2
rm -f .venv/.ready
# What is half made would be taken for whole the next time.
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv || { rm -rf .venv; exit 1; }
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
    --requirement requirements/dev.txt
PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
    --no-build-isolation --editable .
# Servers do not write bytecode, so it is written here, as an installed wheel would have it.
.venv/bin/python -m compileall -q agent_client executor policy proto/codecage
touch .venv/.ready
