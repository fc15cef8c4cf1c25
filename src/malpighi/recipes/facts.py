"""Facts that "auto" decides on, and the form of its decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DataFacts:
    """What was measured of the data.

    Attributes:
        cases: annotated images that may be trained on.
        channels: of each image.
        dtype: of the voxels, "uint8", "uint16", ….
        unit: "µm" where every image says its pixel size, else "px".
        spacing: median level-0 pixel size in `unit` (1 in pixels).
        side: median of the images' shorter sides in y and x, level-0 pixels.
        diameter: typical diameter of an object, level-0 pixels (half of the object area is in larger ones); NaN: no object.
        foreground: share of annotated area that is of any class.
        shape: median shape of the images, level-0 voxels; two axes, or three for volumes.
        voxel: size of a voxel by axis in `unit`.
    """

    cases: int
    channels: int
    dtype: str
    unit: str
    spacing: float
    side: float
    diameter: float
    foreground: float
    shape: tuple[int, ...] = (0, 0)
    voxel: tuple[float, ...] = (1.0, 1.0)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)


@dataclass(frozen=True)
class MachineFacts:
    """What the work will run on: "cpu", "cuda" or "mps"; its name; its memory in GiB; cores."""

    device: str
    name: str
    memory_gb: float
    cores: int

    @property
    def gpu(self) -> bool:
        """Whether an accelerator was found."""
        return self.device != "cpu"


@dataclass(frozen=True)
class Choice:
    """One value that was chosen, and why, in words for the report."""

    key: str
    value: Any
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For plan.json."""
        return asdict(self)


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one training step by (precision, channels_last), as measured with the chosen network."""

    seconds: Mapping[tuple[str, bool], float]

    @property
    def best(self) -> tuple[str, bool]:
        """The fastest setting."""
        return min(self.seconds, key=lambda key: self.seconds[key])


Raw = Mapping[str, Any]
Rule = Callable[[DataFacts, MachineFacts, Raw], tuple[Any, str]]


def get(raw: Raw, key: str) -> Any:
    """The value of "section.key", or of a plain "key"; None where it is absent."""
    section, _, name = key.rpartition(".")
    return (raw.get(section, {}) if section else raw).get(name)


def put(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set "section.key", or a plain "key"."""
    section, _, name = key.rpartition(".")
    (raw.setdefault(section, {}) if section else raw)[name] = value
