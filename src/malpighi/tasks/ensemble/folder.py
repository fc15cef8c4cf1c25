"""ensemble.json: what an ensemble's folder says, written and read back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import DataError
from malpighi.inference.ensemble_combine import HOWS, Combination, How, limit_of

NAME = "ensemble.json"
FORMAT = 1


@dataclass(frozen=True)
class Part:
    """A member as the ensemble uses it.

    Attributes:
        name: of its folder below OUT/IMAGE/members.
        path: of the run folder, where it was found.
        weight: of the mean; all weights sum to 1.
        digest: of its weights when the ensemble was made.
        thresholds: class → probability from which on it votes.
        by: value → class → the same.
    """

    name: str
    path: Path
    weight: float
    digest: str
    thresholds: Mapping[str, float]
    by: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ensemble:
    """An ensemble's folder, read.

    Attributes:
        attribute: by whose value thresholds differ; "": by class alone.
        thresholds: class → probability from which on a voxel of the weighted mean is of the class.
        by: value → class → the same.
    """

    path: Path
    how: How
    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    thresholds: Mapping[str, float]
    attribute: str = ""
    by: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def values(self) -> tuple[str, ...]:
        """Values of the attribute that have thresholds of their own."""
        return tuple(sorted({value for each in (self.by, *(part.by for part in self.parts)) for value in each}))

    def limits(self, value: str | None = None) -> tuple[float, ...]:
        """One threshold a class of what `combination` gives, for an image of this value."""
        votes = limit_of(self.how, len(self.parts))
        if votes is not None:
            return (votes,) * len(self.classes)
        return _of(self.classes, self.thresholds, self.by, value)

    def combination(self, value: str | None = None) -> Combination:
        """What is done with the members' probabilities, in the order of `parts`."""
        weights = np.array([part.weight for part in self.parts])
        if limit_of(self.how, len(self.parts)) is None:
            return Combination(weights)
        cuts = np.array([_of(self.classes, part.thresholds, part.by, value) for part in self.parts])
        return Combination(weights, np.ceil(cuts * 255 - 1e-6))


def _of(
    classes: Sequence[str], thresholds: Mapping[str, float], by: Mapping[str, Mapping[str, float]], value: str | None
) -> tuple[float, ...]:
    own = by.get(value, {}) if value is not None else {}
    return tuple(own.get(name, thresholds[name]) for name in classes)


def is_ensemble(path: Path | str) -> bool:
    """Whether a folder is a finished ensemble."""
    return (Path(path) / NAME).is_file()


def place(run: Path, folder: Path) -> dict[str, str]:
    """Where a run lies, as ensemble.json says it: by path relative to the ensemble, and absolute where both were not moved together."""
    return {"path": Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix(), "absolute": str(run.resolve())}


def read_ensemble(folder: Path) -> Ensemble:
    """Read an ensemble's folder.

    Raises:
        DataError: it is none or damaged, or a member is not where it was.
    """
    folder = Path(folder)
    try:
        told: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise DataError(f"{folder / NAME}: format {told['format']}, this malpighi reads {FORMAT}; update malpighi")
        if told["how"] not in HOWS:
            raise DataError(f"{folder / NAME}: how = {told['how']!r}; known are {', '.join(HOWS)}")
        parts = tuple(
            Part(each["name"], _found(each, folder), each["weight"], each["digest"], each["thresholds"], each.get("by", {}))
            for each in told["members"]
        )
        return Ensemble(
            folder,
            told["how"],
            tuple(told["classes"]),
            parts,
            told["thresholds"],
            told.get("attribute", ""),
            told.get("by", {}),
        )
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no ensemble (it has no {NAME}); give the folder that `malpighi ensemble -o` wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder / NAME}: not what `malpighi ensemble` wrote ({error!r}); make it again") from error


def _found(member: Mapping[str, Any], folder: Path) -> Path:
    """The run, beside the ensemble or where it was when the ensemble was made."""
    for path in (folder / member["path"], Path(member["absolute"])):
        if path.is_dir():
            return path.resolve()
    raise DataError(
        f"{folder}: its member {member['name']} is neither at {folder / member['path']} nor at {member['absolute']}; "
        "keep runs and ensemble together, or make it again"
    )
