"""What is known of one class over a whole data set: how many objects, how large, how much of the area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from malpighi.sampling.measure import CaseFacts


@dataclass(frozen=True)
class ClassFacts:
    """Objects of one class over the data set.

    Attributes:
        cases: labelled for it; `present`: of these, with at least one object.
        share: of the labelled area, over all labelled cases.
        diameters_px: of circles (spheres) of the objects' areas, level-0 pixels; sorted.
        diameters_um: the same in µm, of the cases with a pixel size.
        areas: in the `unit` squared (cubed): µm where every labelled case has a pixel size, else px.
    """

    cases: int
    present: int
    objects: int
    share: float
    diameters_px: np.ndarray
    diameters_um: np.ndarray
    areas: np.ndarray
    unit: str
    rank: int = 2

    @property
    def typical_px(self) -> float | None:
        """Diameter above which half of the class's area (volume) lies, level-0 pixels."""
        return typical(self.diameters_px, self.rank)

    @property
    def typical_um(self) -> float | None:
        """The same in µm, of the cases with a pixel size."""
        return typical(self.diameters_um, self.rank)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, distributions as 5, 25, 50, 75 and 95 %; "typical" is the size above which half of the area lies."""
        return {
            "cases": self.cases,
            "present": self.present,
            "objects": self.objects,
            "share": self.share,
            "median_diameter_px": median(self.diameters_px),
            "median_diameter_um": median(self.diameters_um),
            "typical_diameter_px": self.typical_px,
            "typical_diameter_um": self.typical_um,
            "area_percentiles": [float(v) for v in np.percentile(self.areas, (5, 25, 50, 75, 95))] if len(self.areas) else [],
            "area_unit": self.unit,
        }


def class_facts(name: str, facts: Sequence[CaseFacts]) -> ClassFacts:
    """Gather one class from the cases that could be read."""
    told = [(fact, fact.objects[name]) for fact in facts if name in fact.objects]
    sizes = [(fact, objects.sizes) for fact, objects in told if len(objects.sizes)]
    pixels = [_diameters(areas, len(fact.shape)) for fact, areas in sizes]
    physical = [_diameters(areas * math.prod(fact.spacing), len(fact.shape)) for fact, areas in sizes if fact.spacing]
    um = bool(sizes) and all(fact.spacing for fact, _ in sizes)
    areas = [values * (math.prod(fact.spacing) if um else 1) for fact, values in sizes]
    voxels = np.array([math.prod(fact.shape) for fact, _ in told], float)
    return ClassFacts(
        cases=len(told),
        present=sum(objects.share > 0 for _, objects in told),
        objects=sum(objects.count for _, objects in told),
        share=float((voxels * [objects.share for _, objects in told]).sum() / voxels.sum()) if told else math.nan,
        diameters_px=_joined(pixels),
        diameters_um=_joined(physical),
        areas=_joined(areas),
        unit="µm" if um else "px",
        rank=len(facts[0].shape) if facts else 2,
    )


def _diameters(sizes: np.ndarray, rank: int) -> np.ndarray:
    """Of the circle of an area, of the sphere of a volume."""
    return 2 * np.sqrt(sizes / math.pi) if rank == 2 else np.cbrt(6 * sizes / math.pi)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(parts)) if parts else np.zeros(0)


def median(values: np.ndarray) -> float | None:
    """The median; None where there is nothing."""
    return float(np.median(values)) if len(values) else None


def typical(diameters: np.ndarray, rank: int) -> float | None:
    """The diameter above which half of the class's area (volume) lies: specks, however many, do not move it.

    Args:
        diameters: sorted.
    """
    if not len(diameters):
        return None
    sizes = np.cumsum(diameters**rank)
    return float(diameters[np.searchsorted(sizes, sizes[-1] / 2)])
