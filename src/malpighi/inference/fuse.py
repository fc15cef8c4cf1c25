"""A cell's final scores: its own, its image's, how likely it is negative, and how much of it is in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from malpighi.errors import DataError, RecipeError
from malpighi.metrics.multilabel import best_thresholds, mean_ap

WEIGHTS = tuple(round(0.1 * i, 1) for i in range(11))
"""Weights that are tried."""
MOST_IMAGE = 0.3
"""Highest weight of the image's score that is learnt; what more costs where only cells of one image are told apart was simulated,
see `docs/design/cell-scores.md`."""
RESAMPLES = 50
"""Bootstrap draws of the held-out images for the standard error of a difference."""


@dataclass(frozen=True)
class FuseOptions:
    """How scores are joined.

    Attributes:
        image: weight of the image's score against the cell's, 0 … 1; -1: the smallest that ranks held-out images about as well as
            the best does, see `learn`.
        maps: weight of the class map in the cell against the cell classifier's score, 0 … 1; -1: the one that ranks held-out
            images best.
        negative: name of the class that says none of the others is there; the others are multiplied by 1 - its score. Empty:
            there is none.
        edge_area: confidence of a cell at the image's border is multiplied by min(1, area / this), level-0 pixels; 0: not.
    """

    image: float = -1.0
    maps: float = -1.0
    negative: str = "Negative"
    edge_area: float = 80_000.0

    def __post_init__(self) -> None:
        for name in ("image", "maps"):
            value = getattr(self, name)
            if value != -1 and not 0 <= value <= 1:
                raise RecipeError(f"fuse.{name} {value}: a weight from 0 to 1, or -1 to learn it on held-out images")
        if self.edge_area < 0:
            raise RecipeError(f"fuse.edge_area {self.edge_area}: give 0 or more")


@dataclass(frozen=True)
class Rule:
    """Scores → one score a cell and class; its fields are plain numbers, for `best.json`.

    Attributes:
        image, maps: weights, 0 … 1.
        negative: column of the negative class, or None.
        edge_area: as in `FuseOptions`.
        thresholds: (class,) score from which a cell counts as having the label: where the highest of an image's cells tells
            held-out images apart best (F1); .5 where they could not say. Empty: not learnt.
    """

    image: float
    maps: float
    negative: int | None = None
    edge_area: float = 0.0
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(self.thresholds))  # JSON gives a list

    def apply(
        self,
        cell: np.ndarray,
        maps: np.ndarray,
        image: np.ndarray,
        image_of: np.ndarray,
        border: np.ndarray,
        area: np.ndarray,
    ) -> np.ndarray:
        """(cell, class) float32: (1 - image) · ((1 - maps) · cell + maps · map) + image · image's score, then the two factors.

        The factor 1 - negative is "p[:18] · (1 - p_negative)" of the sixth place of HPA 2021, that of border cells
        min(1, area / 80000) of its seventh.

        Args:
            cell, maps: (cell, class) 0 … 1: of the cell classifier, and of the class maps in the cell.
            image: (image, class) of the image classifier.
            image_of: (cell,) row of the cell's image.
            border: (cell,) whether it touches the border.
            area: (cell,) level-0 pixels.

        Raises:
            DataError: shapes do not go together.
        """
        _check(cell, maps, image, image_of, border, area)
        own = (1 - self.maps) * np.asarray(cell, np.float32) + self.maps * np.asarray(maps, np.float32)
        scores = (1 - self.image) * own + self.image * np.asarray(image, np.float32)[image_of]
        if self.negative is not None:
            others = np.arange(scores.shape[1]) != self.negative
            scores[:, others] *= 1 - scores[:, [self.negative]]
        if self.edge_area:
            scores *= np.where(border, np.minimum(1, np.asarray(area) / self.edge_area), 1)[:, None]
        return scores.astype(np.float32, copy=False)


def pool(scores: np.ndarray, image_of: np.ndarray, images: int, negative: int | None = None) -> np.ndarray:
    """(image, class) the highest score of an image's cells; of the negative class the mean, since it speaks of all of them.

    An image without cells scores 0.
    """
    out = np.zeros((images, scores.shape[1]), np.float64)
    np.maximum.at(out, image_of, scores)
    if negative is not None:
        cells = np.bincount(image_of, minlength=images)
        out[:, negative] = np.bincount(image_of, weights=scores[:, negative], minlength=images) / np.maximum(cells, 1)
    return out


def learn(
    options: FuseOptions,
    cell: np.ndarray,
    maps: np.ndarray,
    image: np.ndarray,
    image_of: np.ndarray,
    border: np.ndarray,
    area: np.ndarray,
    targets: np.ndarray,
    held: np.ndarray,
    classes: Sequence[str],
) -> tuple[Rule, list[dict[str, Any]]]:
    """Choose the weights that are -1 on held-out images.

    Only labels of images are known, so what is compared is how well the surest cell ranks images (mAP). That says nothing
    of which cell it is: an image's own score, given to all its cells, would win without telling any two apart. So the weight
    of the maps is chosen without it; then the image gets the smallest weight that is not worse than the best by more than
    one standard error of the difference (bootstrap over images), and never more than `MOST_IMAGE`. See
    `docs/design/cell-scores.md`.

    Args:
        options: see there.
        cell, maps, image, image_of, border, area: as `Rule.apply`.
        targets: (image, class) 1, 0, NaN where nobody said.
        held: rows of the images that nothing was learnt from.
        classes: names of the columns.

    Returns:
        The rule, and what was tried: rows of "weight" ("maps" or "image"), "value", "map", "behind" (the best's mAP minus
        this one), "error" (of that, its standard error) and "chosen".

    Raises:
        DataError: shapes do not go together.
    """
    _check(cell, maps, image, image_of, border, area)
    held = np.asarray(held, np.int64)
    negative = tuple(classes).index(options.negative) if options.negative in classes else None
    rule = Rule(max(options.image, 0.0), max(options.maps, 0.0), negative, options.edge_area)
    row_of = np.full(len(image), -1)
    row_of[held] = np.arange(len(held))
    kept = row_of[image_of] >= 0
    scores = (np.asarray(cell)[kept], np.asarray(maps)[kept], np.asarray(image)[held], row_of[image_of][kept])
    truth, cut = np.asarray(targets)[held], (np.asarray(border)[kept], np.asarray(area)[kept])

    def pooled(tried: Rule) -> np.ndarray:
        return pool(tried.apply(*scores, *cut), scores[-1], len(held), negative)

    rows: list[dict[str, Any]] = []
    if options.maps == -1:
        start = replace(rule, image=0.0)
        found = _compare([pooled(replace(start, maps=w)) for w in WEIGHTS], WEIGHTS, truth, "maps")
        rule = replace(rule, maps=_mark(found, _best(found))["value"])
        rows += found
    if options.image == -1:
        weights = tuple(w for w in WEIGHTS if w <= MOST_IMAGE)
        found = _compare([pooled(replace(rule, image=w)) for w in weights], weights, truth, "image")
        rule = replace(rule, image=_mark(found, _smallest(found))["value"])
        rows += found
    return replace(rule, thresholds=_thresholds(pooled(rule), truth)), rows


def _compare(pooled: list[np.ndarray], weights: Sequence[float], truth: np.ndarray, name: str) -> list[dict[str, Any]]:
    """The mAP of every weight, and how far it is behind the best on the same draws of images."""
    maps = [_map(scores, truth) for scores in pooled]
    best = int(np.argmax(maps))  # the first: the smallest weight of equal ones
    draws = np.random.default_rng(0).integers(0, max(len(truth), 1), (RESAMPLES if len(truth) else 0, len(truth)))
    drawn = np.array([[_map(scores[i], truth[i]) for scores in pooled] for i in draws]).reshape(-1, len(pooled))
    errors = (drawn[:, [best]] - drawn).std(axis=0) if len(drawn) else np.zeros(len(pooled))
    return [
        {"weight": name, "value": w, "map": m, "behind": maps[best] - m, "error": float(e), "chosen": False}
        for w, m, e in zip(weights, maps, errors, strict=True)
    ]


def _map(scores: np.ndarray, truth: np.ndarray) -> float:
    """The mAP; 0 where no class has both kinds of images, so that nothing is preferred."""
    value = mean_ap(scores, truth)
    return 0.0 if np.isnan(value) else value


def _best(rows: list[dict[str, Any]]) -> int:
    return next(i for i, row in enumerate(rows) if row["behind"] <= 0)


def _smallest(rows: list[dict[str, Any]]) -> int:
    return next(i for i, row in enumerate(rows) if row["behind"] <= row["error"])


def _mark(rows: list[dict[str, Any]], chosen: int) -> dict[str, Any]:
    rows[chosen]["chosen"] = True
    return rows[chosen]


def _thresholds(pooled: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    return tuple(0.5 if np.isnan(t) else float(t) for t in best_thresholds(pooled, truth))


def _check(
    cell: np.ndarray, maps: np.ndarray, image: np.ndarray, image_of: np.ndarray, border: np.ndarray, area: np.ndarray
) -> None:
    cells, classes = len(image_of), np.shape(image)[-1]
    for name, array, wanted in (
        ("cell", cell, (cells, classes)),
        ("maps", maps, (cells, classes)),
        ("border", border, (cells,)),
        ("area", area, (cells,)),
    ):
        if np.shape(array) != wanted:
            raise DataError(f"{name} has shape {np.shape(array)}; of {cells} cells and {classes} classes it is {wanted}")
    if cells and not (np.min(image_of) >= 0 and np.max(image_of) < len(image)):
        raise DataError(f"cells lie in images {np.min(image_of)} … {np.max(image_of)}; there are {len(image)}, from 0")
