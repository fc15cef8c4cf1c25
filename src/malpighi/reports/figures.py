"""Every figure a report may hold, as matplotlib `Figure` objects without pyplot: safe in threads, nothing to close."""

from malpighi.reports.colors import class_colors
from malpighi.reports.display import display_rgb
from malpighi.reports.embed import png
from malpighi.reports.pictures import augmented_samples, comparison, overview
from malpighi.reports.plots import histogram, learning_curves, score_bars

__all__ = [
    "augmented_samples",
    "class_colors",
    "comparison",
    "display_rgb",
    "histogram",
    "learning_curves",
    "overview",
    "png",
    "score_bars",
]
