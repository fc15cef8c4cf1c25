"""Whole commands, task by task: what `train`, `segment`, `evaluate` and `demo` run."""
