"""One readable training loop, its checkpoints and schedules."""
