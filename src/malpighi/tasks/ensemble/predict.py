"""`segment -m ENSEMBLE`: each member predicts the image into a folder of its own, then one pass joins them box by box."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from malpighi.errors import DataError
from malpighi.geometry import Box, Spacing
from malpighi.images import Source
from malpighi.inference.ensemble_combine import Combination
from malpighi.inference.manifest import file_fingerprint, finished_manifest, identity
from malpighi.inference.store import PredictionStore
from malpighi.tasks.after import needs_everywhere
from malpighi.tasks.boxes.mend import boxes_identity, mend_masks
from malpighi.tasks.ensemble.folder import Ensemble, Part, read_ensemble
from malpighi.tasks.ensemble.held_out import Aligned, as_member
from malpighi.tasks.ensemble.options import Options, split_overrides, value_of
from malpighi.tasks.image import prepare_source
from malpighi.tasks.model import Model, open_model
from malpighi.tasks.object_files import OUTLINES, REPORT, write_report
from malpighi.tasks.segment_image import make_objects, segment_image
from malpighi.tasks.talk import Talk, peak_memory_mb
from malpighi.tasks.within import Within

MEMBERS = "members"
READ = {2: 512, 3: 64}
"""Side of the parts in which members are read, by rank: memory does not grow with the store's boxes."""


@dataclass(frozen=True)
class OpenEnsemble:
    """An ensemble whose members' networks are loaded.

    Attributes:
        models: of the members that have weight, in their order.
        options: what was overridden.
        probabilities: keep the joined probabilities, and the members'.
    """

    ensemble: Ensemble
    parts: tuple[Part, ...]
    models: tuple[Model, ...]
    options: Options
    probabilities: bool

    @cached_property
    def used(self) -> Ensemble:
        """The ensemble of these members alone."""
        return replace(self.ensemble, parts=self.parts)

    @property
    def detecting(self) -> Model | None:
        """The first member with a detector: it mends what all give together; the others' are not asked."""
        return next((model for model in self.models if model.boxes.kind != "none"), None)

    def segment(
        self,
        source: Source,
        path: Path,
        folder: Path,
        *,
        within: Within | None = None,
        overwrite: bool = False,
        talk: Talk | None = None,
    ) -> dict[str, Any]:
        """Segment one open image into `folder`, as `segment_image` does with one run."""
        talk, began = talk or Talk(), time.monotonic()
        worked = [model.run.inputs.at(source, model.predict) for model in self.models]
        for inputs in worked:
            inputs.check(source)
        finest = min(range(len(worked)), key=lambda k: math.prod(worked[k].spacing.values))
        inputs, predict = worked[finest], replace(self.models[finest].predict, one_class=self.options.one_class)
        model = replace(self.models[finest], predict=predict, objects=self.options.objects)
        value = self._value(path, talk)
        limits = self.options.thresholds or self.used.limits(value)
        told = self._told(source, path, within, value)
        shape = source.space.shape_at(inputs.spacing)
        asked = identity(shape, inputs.spacing, inputs.classes, limits, self.probabilities, told)
        if not overwrite and (finished := finished_manifest(folder, asked)):
            talk.say(f"{escape(str(folder))}: is finished; --overwrite predicts it again")
            self._tidy(folder)
            if not (folder / REPORT).is_file():
                write_report(folder, source, finished["objects"], talk)
            return {**finished, "output": str(folder)}
        if overwrite:
            shutil.rmtree(folder / MEMBERS, ignore_errors=True)
        store = PredictionStore(
            folder,
            shape,
            inputs.spacing,
            inputs.classes,
            limits,
            probabilities=self.probabilities,
            everywhere=needs_everywhere(self.options.objects) or self.detecting is not None,
            fingerprint=told,
            overwrite=overwrite,
        )
        with store:  # it is begun before the members are, so that the folder is known to be ours
            results = self._predict(source, path, folder, within, talk)
            self._join(store, folder, self.used.combination(value), talk)
            decided = store.decide()
            self._mend(store, source, inputs.spacing, within, talk)
            objects = make_objects(store, source, model, inputs, talk)
            facts: dict[str, Any] = {
                "run": str(self.ensemble.path.resolve()),
                "tiles": sum(result["tiles"] for result in results),
                "skipped_tiles": sum(result["skipped_tiles"] for result in results),
                "seconds": round(time.monotonic() - began, 2),
                "peak_memory_mb": peak_memory_mb(),
                "device": model.device,
                "thresholds": dict(zip(inputs.classes, decided.tolist(), strict=True)),
                "objects": objects,
                "outlines": OUTLINES if source.space.rank == 2 else None,
                "damage": list(dict.fromkeys(line for result in results for line in result["damage"])),
            }
            store.finish(facts)
        self._tidy(folder)
        write_report(folder, source, objects, talk)
        return {**facts, "output": str(folder)}

    def _value(self, path: Path, talk: Talk) -> str | None:
        """The image's value of the attribute by which thresholds differ."""
        name = self.ensemble.attribute
        if not name:
            return None
        value = self.options.value or value_of(path, name)
        if value is None:
            talk.say(
                f"[yellow]note:[/yellow] {escape(str(path))}: its {name} is not known, thresholds of all are used; "
                f"give --set ensemble.{name}={'|'.join(self.ensemble.values)}"
            )
        elif value not in self.ensemble.values:
            talk.say(f"[yellow]note:[/yellow] {escape(str(path))}: {name} {escape(value)} has no thresholds of its own")
        return value

    def _told(self, source: Source, path: Path, within: Within | None, value: str | None) -> dict[str, Any]:
        """What the result depends on besides grid and thresholds."""
        spacing = source.space.spacing
        return {
            "within": within.told if within else None,
            "image": {
                **file_fingerprint(path),
                "shape": list(source.shape),
                "spacing": {"values": list(spacing.values), "unit": spacing.unit},
            },
            "ensemble": {
                "how": self.ensemble.how,
                "members": {part.name: [part.digest, part.weight] for part in self.parts},
                **({"cuts": self.used.combination(value).cuts.tolist()} if self._votes else {}),  # type: ignore[union-attr]
            },
            "options": {**self.options.told, **(boxes_identity(self.detecting) if self.detecting else {})},
        }

    @property
    def _votes(self) -> bool:
        return self.ensemble.how in ("union", "vote")

    def _predict(self, source: Source, path: Path, folder: Path, within: Within | None, talk: Talk) -> list[dict[str, Any]]:
        """Every member's probabilities, one after the other; those that are finished stand."""
        results = []
        for number, (part, model) in enumerate(zip(self.parts, self.models, strict=True), 1):
            talk.say(f"member {number} of {len(self.parts)}: {escape(part.name)}")
            place = folder / MEMBERS / part.name
            results.append(segment_image(as_member(model), source, path, place, within=within, report=False, talk=talk))
        return results

    def _mend(self, store: PredictionStore, source: Source, spacing: Spacing, within: Within | None, talk: Talk) -> None:
        """Fill what the joined masks, at `spacing`, have a part of."""
        model = self.detecting or self.models[0]
        if self.detecting:
            source = prepare_source(source, model.run.recipe, talk, model.run.inputs.channels)
        inputs = model.run.inputs.at(source, model.predict)
        mend_masks(store, model, source, inputs, talk, within.hull if within else None, spacing)

    def _join(self, store: PredictionStore, folder: Path, combination: Combination, talk: Talk) -> None:
        boxes = [box for box in Box.of_shape(store.shape).split(store.align) if box not in store.done]
        with ExitStack() as stack, talk.bar("joining the members", total=len(boxes)) as advance:
            aligned = Aligned([folder / MEMBERS / part.name for part in self.parts], stack)
            for box in boxes:
                joined = np.empty((len(store.classes), *box.size), np.float32)
                for part in box.split((READ[box.rank],) * box.rank):
                    at = (slice(None), *part.relative_to(box.start).slices)
                    np.divide(combination.levels(aligned.levels(part)), np.float32(255), out=joined[at])
                store.add(box, joined)
                advance()

    def _tidy(self, folder: Path) -> None:
        if not self.probabilities:
            shutil.rmtree(folder / MEMBERS, ignore_errors=True)


def open_ensemble(folder: Path, overrides: Sequence[str] = (), probabilities: bool = False) -> OpenEnsemble:
    """Load an ensemble's members.

    Args:
        overrides: "predict.…" of every member, "objects.…", "boxes.…" and "predict.thresholds" of what they give together, and
            "ensemble.ATTRIBUTE=VALUE", such as "ensemble.organ=kidney": which of the fitted thresholds hold.

    Raises:
        DataError: a member is missing, was trained again, or does not go with the others.
        RecipeError: an override that an ensemble has no place for.
    """
    ensemble = read_ensemble(folder)
    votes = ensemble.how in ("union", "vote")
    parts = tuple(part for part in ensemble.parts if votes or part.weight > 0)
    options = split_overrides(ensemble, parts[0].path, overrides)
    models = tuple(open_model(part.path, options.of_members, probabilities=True) for part in parts)
    for part, model in zip(parts, models, strict=True):
        if model.digest != part.digest:
            raise DataError(
                f"{part.path}: was trained again since {ensemble.path} was made of it; make the ensemble again: "
                "malpighi ensemble … --overwrite"
            )
        if model.run.inputs.classes != ensemble.classes:
            raise DataError(f"{part.path}: predicts {', '.join(model.run.inputs.classes)}, not {', '.join(ensemble.classes)}")
    return OpenEnsemble(ensemble, parts, models, options, probabilities)
