#!/bin/sh
# Everything that must pass before a change lands: lint, types, layers, tests (the slow ones too where CI=true).
set -eu
cd "$(dirname "$0")"
sh install.sh
.venv/bin/ruff check
.venv/bin/ruff format --check
.venv/bin/mypy
.venv/bin/lint-imports
.venv/bin/python -m pytest ${CI:+--slow} "$@"
