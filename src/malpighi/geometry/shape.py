"""Shape: one outlined object, as annotation files hold them and as exports write them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class Shape:
    """An outlined object of one class.

    Attributes:
        geometry: shapely Polygon or MultiPolygon, holes allowed, (x, y) in level-0 pixels: pixel i spans [i, i + 1).
        label: class name.
        measurements: name → number, units in the name ("Area µm^2").
        kind: QuPath's object type: "annotation", "detection", "cell" or "tile".
    """

    geometry: BaseGeometry
    label: str
    measurements: Mapping[str, float] = field(default_factory=dict)
    kind: str = "annotation"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
