# The few commands of a developer's day. None is needed to use malpighi.
.PHONY: install check format test slow lock bench

install:            ## .venv with the pinned versions and this checkout
	sh install.sh

check:              ## all that CI checks, without the slow tests
	sh check.sh

format:
	.venv/bin/ruff format && .venv/bin/ruff check --fix

test:
	.venv/bin/python -m pytest

slow:
	.venv/bin/python -m pytest --slow

lock:               ## after a change of dependencies in pyproject.toml
	.venv/bin/uv lock
	.venv/bin/uv export --quiet --no-emit-project --no-annotate --no-header --group dev --format requirements-txt -o requirements.lock

bench:              ## the benchmarks that need no other package
	for b in read_tiles rasterise objects overlap feed; do .venv/bin/python benchmarks/$$b.py; done
