"""Models that come with malpighi: a run folder each, found by its name."""
