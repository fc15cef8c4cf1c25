#!/bin/sh
# Makes .venv with the exact versions of requirements.lock and this checkout in it. Needs only Python >= 3.11 and pip.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -m venv .venv
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
uv() { VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv "$@"; }
uv pip install --compile-bytecode --require-hashes -r requirements.lock  # every command starts in half the time from the first on
uv pip install --no-deps --editable .
