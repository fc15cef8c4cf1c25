"""Labels of images and of their cells: an image's label holds for some of its cells only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from malpighi.phantoms.cell_patterns import NEGATIVE

_COUNTS = (0.5, 0.36, 0.14)  # shares of images with one, two, three labels, near those of the competition's train.csv
_TWO = 0.12  # share of cells that show two labels of their image


def draw_image_labels(classes: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """One to three labels, or Negative alone in one of twelve images."""
    shown = [name for name in classes if name != NEGATIVE]
    if not shown or (NEGATIVE in classes and rng.random() < 1 / 12):
        return (NEGATIVE,)
    count = min(1 + int(rng.choice(3, p=_COUNTS)), len(shown))
    return tuple(shown[i] for i in sorted(rng.choice(len(shown), count, replace=False)))


def draw_labels(
    labels: Sequence[str], classes: Sequence[str], seen: np.ndarray, penetrance: float, rng: np.random.Generator
) -> tuple[tuple[str, ...], ...]:
    """Classes of every cell, such that each label of the image holds for at least one.

    Args:
        labels: of the image; each of `classes`.
        classes: of the set; cells without a label are Negative where that is one of them, else ().
        seen: (cell,) bool: whether the cell shows its nucleus; those take the labels that must be shown first.
        penetrance: share of cells that show a label.
        rng: what is drawn from.
    """
    shown = [name for name in labels if name != NEGATIVE]
    cells: list[set[str]] = [set() for _ in seen]
    for own in cells:
        if shown and rng.random() < penetrance:
            own.add(shown[rng.integers(len(shown))])
            if len(shown) > 1 and rng.random() < _TWO:
                own.add(shown[rng.integers(len(shown))])
    good = rng.permutation(np.flatnonzero(seen) if np.any(seen) else len(cells))
    missing = [name for name in shown if not any(name in own for own in cells)]
    for i, name in enumerate(missing if cells else ()):
        _give(cells, good, i, name)
    if NEGATIVE in labels and shown and all(cells):  # an image that is said to be negative as well has a cell that is
        spare = [own for own in cells if all(sum(name in other for other in cells) > 1 for name in own)]
        for own in spare[:1]:
            own.clear()
    empty = (NEGATIVE,) if NEGATIVE in classes else ()
    return tuple(tuple(name for name in classes if name in own) or empty for own in cells)


def _give(cells: list[set[str]], order: np.ndarray, turn: int, name: str) -> None:
    """Add a label to a cell that has none yet; where all have one, to the next in order."""
    free = [int(i) for i in order if not cells[i]]
    cells[free[0] if free else int(order[turn % len(order)])].add(name)
