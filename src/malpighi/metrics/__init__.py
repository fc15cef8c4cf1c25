"""Scores by exact definition, streamed. Never imports torch."""
