"""Small objects drawn anew, each by the threshold that parts its own surroundings best (as the kidney challenge's 10th place did)."""

from __future__ import annotations

import numpy as np

from malpighi.geometry import Box
from malpighi.objects.label import Components, Read
from malpighi.objects.outline import WHOLE, alone
from malpighi.objects.pieces import checked_mask
from malpighi.objects.trace import fill_holes


class Redraw:
    """The objects of a 2-D mask below a size, and how each looks drawn anew.

    An object's bounding box is made half as large again; Otsu's threshold (Otsu 1979) of the probabilities in it, above which
    voxels are foreground, gives parts, and those that meet the object replace it. Every object is drawn from the mask as it was, so that
    their order does not matter. It stays as it is where no part meets it, or where its box holds more than `WHOLE` pixels.
    """

    def __init__(
        self, components: Components, below: float, mask: Read, probability: Read, holes_below: float = 0, whole: int = WHOLE
    ) -> None:
        """Choose the objects.

        Args:
            components: of the mask.
            below: objects of fewer voxels are drawn anew.
            mask: reads the mask as it was when `components` were found, best through a `BlockCache`.
            probability: reads (y, x) uint8 probabilities, inside and outside of the mask.
            holes_below: holes of fewer pixels are filled in what is drawn.
            whole: pixels up to which the grown box is read.
        """
        self.components, self.mask, self.probability, self.holes_below = components, mask, probability, holes_below
        self._start, self._stop = grown(components.start, components.stop, components.shape)
        small = (components.count < below) & ((self._stop - self._start).prod(1) <= whole)
        self._numbers = np.flatnonzero(small)

    def __len__(self) -> int:
        return len(self._numbers)

    def draw(self, box: Box) -> np.ndarray | None:
        """The mask in `box` with its small objects drawn anew, (y, x) bool; None where none is near, so that it stays as it is."""
        near = (self._start[self._numbers] < box.stop).all(1) & (self._stop[self._numbers] > box.start).all(1)
        if not near.any():
            return None
        out = self.mask(box) != 0
        gone, come = np.zeros(box.size, bool), np.zeros(box.size, bool)
        for i in self._numbers[near].tolist():
            reach = Box.of_bounds(self._start[i].tolist(), self._stop[i].tolist())
            own, drawn = self._drawn(i + 1, reach)
            part = reach.intersect(box)
            here, there = part.relative_to(box.start).slices, part.relative_to(reach.start).slices
            gone[here] |= own[there]
            come[here] |= drawn[there]
        return (out & ~gone) | come

    def _drawn(self, component: int, reach: Box) -> tuple[np.ndarray, np.ndarray]:
        """The object as it is and as it is drawn anew, both (*reach.size) bool."""
        box, faces_only = self.components.box(component), self.components.faces_only
        own = np.zeros(reach.size, bool)
        own[box.relative_to(reach.start).slices] = alone(checked_mask(self.mask(box), box), faces_only)
        drawn = redrawn(own, self.probability(reach), faces_only)
        return own, fill_holes(drawn, self.holes_below, faces_only) if self.holes_below else drawn


def grown(start: np.ndarray, stop: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Bounding boxes half as large again: a quarter of their side, rounded up, further on each side, within the image.

    Args:
        start, stop: (object, axis) int64.
    """
    margin = -(-(stop - start) // 4)
    return np.maximum(start - margin, 0), np.minimum(stop + margin, np.array(shape))


def redrawn(own: np.ndarray, probability: np.ndarray, faces_only: bool = False) -> np.ndarray:
    """The parts above Otsu's threshold that meet the object; the object itself where there is none.

    Args:
        own: (y, x) bool, the object.
        probability: (y, x) uint8.
        faces_only: parts that touch only at a corner are different ones.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    parts, count = ndimage.label(
        probability > threshold_otsu(probability), ndimage.generate_binary_structure(2, 1 if faces_only else 2)
    )
    met = np.zeros(count + 1, bool)
    met[np.unique(parts[own])] = True
    met[0] = False
    return met[parts] if met.any() else own
