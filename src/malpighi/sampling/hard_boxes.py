"""Hard boxes: where a network saw what is not there. They come back more often until it is looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from malpighi.geometry import Box
from malpighi.sampling.plain_boxes import Sampler
from malpighi.sampling.seeds import stream


@dataclass(frozen=True, slots=True)
class HardBox:
    """A box and how wrong the network was in it.

    Attributes:
        case: index, as samplers count them.
        start: first voxel.
        false: voxels that were taken for a class that they are not of.
    """

    case: int
    start: tuple[int, ...]
    false: int


class HardBoxes:
    """What was found at each look, by the step after which it was looked.

    Batch n is drawn by the last look at or before n, so that a run that goes on from any step draws what an unbroken one does. Looks at
    later steps, of a sitting that was killed before it saved its weights, are to be forgotten first.
    """

    def __init__(self, looks: Iterable[tuple[int, tuple[HardBox, ...]]] = ()) -> None:
        self.looks = tuple(sorted(looks, key=lambda look: look[0]))

    def add(self, step: int, boxes: Iterable[HardBox]) -> None:
        """What was found after `step` steps; later looks are forgotten."""
        self.looks = (*(look for look in self.looks if look[0] < step), (step, tuple(boxes)))

    def forget(self, step: int) -> None:
        """Go on from `step`: nobody has looked later."""
        self.looks = tuple(look for look in self.looks if look[0] <= step)

    def at(self, batch: int) -> tuple[HardBox, ...]:
        """The boxes that batch number `batch` is drawn with; () where nobody has looked yet."""
        return next((boxes for step, boxes in reversed(self.looks) if step <= batch), ())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = [
            {"step": step, "boxes": [{"case": b.case, "start": list(b.start), "false": b.false} for b in boxes]}
            for step, boxes in self.looks
        ]
        return {"looks": found}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Back from `as_dict`."""
        self.looks = HardBoxes(
            (int(look["step"]), tuple(HardBox(int(b["case"]), tuple(b["start"]), int(b["false"])) for b in look["boxes"]))
            for look in saved["looks"]
        ).looks


def hard_boxes(series: Sampler, found: HardBoxes, tile: tuple[int, ...], share: float, batch: int, seed: int) -> Sampler:
    """A `share` of the boxes from what was found hard, all of those alike; the others, and all until then, are of `series`.

    Args:
        found: grows while the run goes on; box n depends on the looks up to step n // batch alone.
        batch: boxes a step.
    """
    return Sampler(partial(_hard, series, found, tuple(tile), share, batch, seed))


def _hard(
    series: Sampler, found: HardBoxes, tile: tuple[int, ...], share: float, batch: int, seed: int, n: int
) -> tuple[int, Box]:
    boxes = found.at(n // batch)
    rng = stream(seed, n, 6)
    if not boxes or rng.random() >= share:
        return series(n)
    hard = boxes[rng.integers(len(boxes))]
    return hard.case, Box(hard.start, tile)
