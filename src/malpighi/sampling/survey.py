"""Survey: what a data set is, measured. `inspect` prints it, recipe `auto` plans by it."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from malpighi.errors import MalpighiError
from malpighi.geometry import Spacing
from malpighi.images.channels import image_files
from malpighi.images.select import telling
from malpighi.sampling.cases import UNKNOWN, Case, CaseTable, open_labels
from malpighi.sampling.classfacts import ClassFacts, class_facts
from malpighi.sampling.measure import CaseFacts, measure_image, measure_objects
from malpighi.sampling.remarks import remarks

PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)


@dataclass(frozen=True)
class Survey:
    """A data set, measured. `facts` are in the order of `table.cases`."""

    table: CaseTable
    facts: tuple[CaseFacts, ...]
    duplicates: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def readable(self) -> tuple[CaseFacts, ...]:
        """The cases whose image could be read."""
        return tuple(fact for fact in self.facts if fact.shape)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """What is broken, one line each."""
        return tuple(line for fact in self.facts for line in fact.problems)

    @cached_property
    def classes(self) -> dict[str, ClassFacts]:
        """Objects by class."""
        return {name: class_facts(name, self.readable) for name in self.table.classes}

    @property
    def rank(self) -> int:
        """Spatial axes of the images; the most frequent where they differ."""
        return _commonest(len(fact.shape) for fact in self.readable) or 2

    @property
    def dtypes(self) -> dict[str, int]:
        """Images by type of their values."""
        return dict(Counter(fact.dtype for fact in self.readable))

    @property
    def channels(self) -> dict[int, int]:
        """Images by number of channels."""
        return dict(Counter(len(fact.channels) for fact in self.readable))

    @property
    def spacings(self) -> dict[str, int]:
        """Images by level-0 pixel size; `px` where it is unknown."""
        return dict(Counter(str(Spacing(fact.spacing, "µm")) if fact.spacing else "px" for fact in self.readable))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Median µm per voxel by axis; empty where any image has no pixel size, or the ranks differ."""
        every = [fact.spacing for fact in self.readable]
        if not every or not all(every) or len({len(values) for values in every}) > 1:
            return ()
        return tuple(float(v) for v in np.median(np.array(every), axis=0))

    @cached_property
    def intensity(self) -> list[dict[str, Any]]:
        """Percentiles by channel over all images, each with the same weight; of the images with the commonest channels."""
        chosen = self.like_most()
        if not chosen:
            return []
        out = []
        for k, name in enumerate(chosen[0].channels):
            values = np.concatenate([fact.values[k] for fact in chosen])
            values = values[np.isfinite(values)]
            numbers = np.percentile(values, PERCENTILES) if len(values) else np.full(len(PERCENTILES), np.nan)
            told = {f"p{p:g}": float(v) for p, v in zip(PERCENTILES, numbers, strict=True)}
            out.append(
                {"channel": name, "mean": _mean(values), "std": float(values.std()) if len(values) else math.nan, **told}
            )
        return out

    def like_most(self) -> tuple[CaseFacts, ...]:
        """The images that have as many channels as most."""
        usual = _commonest(len(fact.channels) for fact in self.readable)
        return tuple(fact for fact in self.readable if len(fact.channels) == usual)

    @cached_property
    def image_labels(self) -> dict[str, int]:
        """Images by label, for every class that images as a whole may show; empty where nobody said of any."""
        counts = Counter(name for shown in self._shown for name in shown)
        drawn = {name for case in self.table.cases for name in case.classes}
        return {name: counts[name] for name in self.table.classes if counts[name] or name not in drawn} if self._shown else {}

    @property
    def labels_an_image(self) -> dict[int, int]:
        """Images by how many labels they have, of those of which somebody said."""
        return dict(sorted(Counter(map(len, self._shown)).items()))

    @cached_property
    def _shown(self) -> tuple[tuple[str, ...], ...]:
        return tuple(case.image_labels for case in self.table.cases if case.image_labels is not None)

    @cached_property
    def lacking(self) -> dict[str, tuple[str, ...]]:
        """Id of an image → the channels that it lacks and others have, where channels have telling names."""
        named = [fact for fact in self.readable if telling(fact.channels)]
        every = dict.fromkeys(name for fact in sorted(named, key=lambda f: -len(f.channels)) for name in fact.channels)
        gone = {fact.id: tuple(name for name in every if name not in fact.channels) for fact in named}
        return {name: channels for name, channels in gone.items() if channels}

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is readable but may surprise, one line each."""
        few = [f"{name} has no {', '.join(gone)}" for name, gone in list(self.lacking.items())[:5]]
        more = f", … ({len(self.lacking)} images)" if len(self.lacking) > 5 else ""
        return (*remarks(self), *([f"channels are missing: {'; '.join(few)}{more}"] if few else []))

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        sizes = np.array([fact.shape for fact in self.readable if len(fact.shape) == self.rank])
        return {
            "data": str(self.table.root),
            "layout": self.table.layout,
            "cases": len(self.table),
            "labelled": len(self.table.labelled),
            "groups": len(self.table.counts("group")),
            "rank": self.rank,
            "counts": {key: self.table.counts(key) for key in ("class", "organ", "stain", "donor", "split") if self.tells(key)},
            "classes": {name: facts.as_dict() for name, facts in self.classes.items()},
            "image_labels": self.image_labels,
            "labels_an_image": {str(n): count for n, count in self.labels_an_image.items()},
            "lacking_channels": {name: list(gone) for name, gone in self.lacking.items()},
            "sizes": {
                "smallest": sizes.min(0).tolist() if len(sizes) else [],
                "median": np.median(sizes, axis=0).tolist() if len(sizes) else [],
                "largest": sizes.max(0).tolist() if len(sizes) else [],
            },
            "spacings": self.spacings,
            "spacing_um": list(self.spacing),
            "dtypes": self.dtypes,
            "channels": {str(n): count for n, count in self.channels.items()},
            "intensity": self.intensity,
            "annotated": {fact.id: fact.annotated for fact in self.readable if fact.annotated < 1},
            "annotated_slices": {fact.id: fact.annotated_slices for fact in self.readable if fact.annotated_slices < 1},
            "notes": list(self.table.notes),
            "warnings": list(self.warnings),
            "broken": list(self.problems),
        }

    def tells(self, key: str) -> bool:
        """Whether any case says anything of `key`."""
        return key == "class" or any(value != UNKNOWN for value in self.table.counts(key))


def survey(table: CaseTable, progress: Callable[[], None] | None = None, workers: int | None = None) -> Survey:
    """Open every image and every label of a data set, and measure them.

    Memory stays bounded for images of any size; what cannot be read is noted and the rest goes on.

    Args:
        table: from `find_cases`.
        progress: called after each case.
        workers: threads; default as many as the process may use, at most 8.
    """
    threads = workers or min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)

    def measure(case: Case) -> CaseFacts:
        return measure_case(case, table.classes)

    facts = []
    with ThreadPoolExecutor(threads) as pool:
        for fact in pool.map(measure, table.cases):
            facts.append(fact)
            if progress is not None:
                progress()
    return Survey(table, tuple(facts), tuple(same_files(table)))


def measure_case(case: Case, classes: tuple[str, ...]) -> CaseFacts:
    """Facts of one case; errors become its `problems`, and what could still be measured stays."""
    from malpighi.images.open import open_image

    try:
        source = open_image(case.image, spacing=case.spacing)
    except (MalpighiError, OSError) as error:
        return CaseFacts(case.id, str(case.image), problems=(str(error),))
    facts = CaseFacts(case.id, str(case.image))
    with source:
        try:
            facts = measure_image(case, source)
            if case.labels:
                with closing(open_labels(case, source.space, classes)) as annotation:
                    found = measure_objects(annotation)
                    notes = (*facts.notes, *(f"{case.id}: {note}" for note in annotation.notes))
                facts = replace(
                    facts,
                    objects=found.objects,
                    reduction=found.reduction,
                    annotated=found.annotated,
                    annotated_slices=found.annotated_slices,
                    notes=notes,
                )
        except (MalpighiError, OSError) as error:
            facts = replace(facts, problems=(*facts.problems, str(error)))
    return facts


def same_files(table: CaseTable) -> Iterator[tuple[str, ...]]:
    """Ids of cases whose image files hold the same bytes (of large files: size, beginning and end)."""
    by_size: dict[int, list[Case]] = {}
    for case in table.cases:
        if not case.image.is_dir() and (files := image_files(case.image)):
            by_size.setdefault(sum(file.stat().st_size for file in files), []).append(case)
    by_content: dict[str, list[str]] = {}
    for cases in by_size.values():
        for case in cases if len(cases) > 1 else ():
            by_content.setdefault(digest(case.image), []).append(case.id)
    yield from (tuple(ids) for ids in by_content.values() if len(ids) > 1)


def digest(path: Path, part: int = 1 << 20) -> str:
    """SHA-256 of a file's size, first and last `part` bytes: tells files apart without reading a slide. "" for folders.

    Of a file a channel, of all of them in turn.
    """
    if path.is_dir() or not (files := image_files(path)):
        return ""
    digest = hashlib.sha256()
    for name in files:
        with name.open("rb") as file:
            size = name.stat().st_size
            digest.update(file.read(part) + str(size).encode())
            file.seek(max(part, size - part))
            digest.update(file.read(part))
    return digest.hexdigest()


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _commonest(values: Iterator[int]) -> int | None:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None
