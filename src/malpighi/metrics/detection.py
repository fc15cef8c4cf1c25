"""Mean average precision of labelled masks at one IoU: the rule of Open Images' instance segmentation, and so of HPA 2021.

As TensorFlow's `object_detection` computes it (`per_image_evaluation.py`, `metrics.py`): within an image and a class,
detections are taken from the surest down, each belongs to the true mask with which its IoU is highest, and it is right
where that is at least the threshold and no surer one had it; a second one on the same mask is wrong. Detections of classes
that nobody verified in an image are dropped there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malpighi.errors import DataError
from malpighi.metrics.instances import Pairs

IOU = 0.6
"""Of HPA 2021."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labels on the masks of one image; a mask with several labels occurs several times.

    Attributes:
        label: (label,) class numbers, from 0.
        mask: (label,) rows of `Pairs.predicted` or `Pairs.true`.
        confidence: (label,) of predictions, any numbers that rank.
    """

    label: np.ndarray
    mask: np.ndarray
    confidence: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and recall of one class from the surest detection down; equal confidences are one step.

    Attributes:
        confidence, precision, recall: (step,).
        true: number of true masks.
    """

    confidence: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    true: int

    @property
    def average_precision(self) -> float:
        """Area under the curve, where precision is the highest at this recall or above; NaN without true masks."""
        if not self.true:
            return float("nan")
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0) * envelope).sum())

    @property
    def best_f1(self) -> tuple[float, float]:
        """The highest F1, and the confidence from which on detections count for it; NaN without detections or true masks."""
        if not self.true or not len(self.confidence):
            return float("nan"), float("nan")
        total = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)
        best = int(f1.argmax())
        return float(f1[best]), float(self.confidence[best])


class Detections:
    """Detections of any number of images, added one image after the other; memory grows with detections, not with pixels.

    Args:
        classes: how many.
        iou: from which on a mask is found.
    """

    def __init__(self, classes: int, iou: float = IOU) -> None:
        if not 0 < iou <= 1:
            raise DataError(f"IoU {iou}: give a number above 0, up to 1")
        self.classes, self.iou = classes, iou
        self._images: set[str] = set()
        self._parts: list[tuple[np.ndarray, ...]] = []
        self.true = np.zeros(classes, np.int64)
        """(class,) true masks so far."""

    def add(
        self, image: str, predicted: Labelled, true: Labelled, pairs: Pairs, verified: Sequence[int] | np.ndarray | None = None
    ) -> None:
        """Count one image.

        Args:
            image: its id; each once.
            predicted, true: labels on the masks that `pairs` knows by row.
            pairs: overlaps of predicted and true masks.
            verified: classes of which somebody said whether they are in this image; those of `true` always count. None:
                those alone, as where a table lists only what is there.

        Raises:
            DataError: the image was added before, a class or mask is unknown, or a confidence is NaN.
        """
        if image in self._images:
            raise DataError(f"{image} is given twice; score each image once")
        self._check(image, predicted, true, pairs)
        self._images.add(image)
        label, mask = np.asarray(predicted.label, np.int64), np.asarray(predicted.mask, np.int64)
        confidence = np.asarray(predicted.confidence, np.float64)
        self.true += np.bincount(np.asarray(true.label, np.int64), minlength=self.classes)
        known = np.union1d(np.asarray(true.label, np.int64), np.asarray([] if verified is None else verified, np.int64))
        hit = matched(label, mask, confidence, true, pairs, self.iou)
        self._parts.append((label.astype(np.int32), confidence, hit, np.isin(label, known)))

    def curve(self, label: int, verified: bool = True) -> Curve:
        """Precision and recall of one class.

        Args:
            label: the class.
            verified: detections of classes that are not verified in their image are dropped; else they are wrong.
        """
        parts = [(c[i], h[i]) for names, c, h, known in self._parts for i in [(names == label) & (known | (not verified))]]
        confidence = np.concatenate([c for c, _ in parts]) if parts else np.zeros(0)
        hit = np.concatenate([h for _, h in parts]) if parts else np.zeros(0, bool)
        order = np.argsort(-confidence, kind="stable")
        ranked = confidence[order]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, np.int64)
        right, true = np.cumsum(hit[order])[last], int(self.true[label])
        return Curve(ranked[last], right / (last + 1), right / max(true, 1), true)

    def average_precisions(self, verified: bool = True) -> np.ndarray:
        """(class,) average precision; NaN of a class without true masks."""
        return np.array([self.curve(c, verified).average_precision for c in range(self.classes)])

    def mean(self, verified: bool = True) -> float:
        """Mean over the classes that have true masks; NaN where none has."""
        found = self.average_precisions(verified)
        found = found[~np.isnan(found)]
        return float(found.mean()) if found.size else float("nan")

    def _check(self, image: str, predicted: Labelled, true: Labelled, pairs: Pairs) -> None:
        if predicted.confidence is None or not np.isfinite(predicted.confidence).all():
            raise DataError(f"{image}: a detection has no confidence, or one that is no number")
        for name, side, masks in (("predicted", predicted, len(pairs.predicted)), ("true", true, len(pairs.true))):
            for what, values, end in (("class", side.label, self.classes), ("mask", side.mask, masks)):
                if len(values) and not (np.min(values) >= 0 and np.max(values) < end):
                    raise DataError(f"{image}: {name} {what} {np.max(values)}; there are {end}, numbered from 0")


def matched(
    label: np.ndarray, mask: np.ndarray, confidence: np.ndarray, true: Labelled, pairs: Pairs, iou: float
) -> np.ndarray:
    """(detection,) bool: whether it finds a true mask of its class, in one image.

    Of equally sure detections the one given first is taken first; of true masks with equal IoU the one given first.
    """
    hit = np.zeros(len(label), bool)
    target = _nearest(label, mask, true, pairs, iou)
    order = np.argsort(-confidence, kind="stable")
    order = order[target[order] >= 0]
    _, first = np.unique(target[order], return_index=True)
    hit[order[first]] = True
    return hit


def _nearest(label: np.ndarray, mask: np.ndarray, true: Labelled, pairs: Pairs, iou: float) -> np.ndarray:
    """(detection,) row of `true` with its label and the highest IoU, where that is at least `iou`; else -1."""
    good = pairs.iou >= iou
    p, t, overlap = pairs.p[good], pairs.t[good], pairs.iou[good]
    best: dict[tuple[int, int], tuple[float, int]] = {}  # (predicted mask, label) → (IoU, -row): the highest, then the first
    rows: dict[int, list[int]] = {}
    for row, m in enumerate(true.mask.tolist()):
        rows.setdefault(m, []).append(row)
    labels = true.label.tolist()
    for a, b, value in zip(p.tolist(), t.tolist(), overlap.tolist(), strict=True):
        for row in rows.get(b, ()):
            key = (a, labels[row])
            best[key] = max(best.get(key, (-1.0, 0)), (value, -row))
    found = (best.get(key) for key in zip(mask.tolist(), label.tolist(), strict=True))
    return np.array([-1 if one is None else -one[1] for one in found], np.int64)
