"""Held-out predictions of an ensemble's runs: made once into ENS/members, then read box by box on one grid with the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from malpighi.annotations.base import UNLABELLED
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images import Source
from malpighi.images.open import open_image
from malpighi.inference.folder import PROBABILITIES
from malpighi.inference.manifest import MANIFEST, file_fingerprint
from malpighi.models.boxes import BoxOptions
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, OpenCase, open_case
from malpighi.tasks.ensemble.members import Member, Team
from malpighi.tasks.model import Model
from malpighi.tasks.talk import Talk

BLOCK = {2: 1024, 3: 96}
"""Side of the boxes that are read at a time, by rank: of every column, so that memory grows with columns, not with images."""


def as_member(model: Model) -> Model:
    """A run's model of which only the probabilities are wanted: what else decides over masks, a share of voxels or a detector, is off."""
    return replace(model, predict=replace(model.predict, top=0.0), boxes=BoxOptions())


def predict_held_out(team: Team, folder: Path, overwrite: bool = False, talk: Talk | None = None) -> None:
    """Let each run predict what it held out, with probabilities, into `folder`/NAME/CASE. What is there is left alone.

    Args:
        team: of it, only images that everything is fitted on are predicted.
        overwrite: a prediction that was made by other weights or options is made again; else it is an error.
    """
    from malpighi.tasks.model import open_model
    from malpighi.tasks.segment_image import segment_image

    talk = talk or Talk()
    wanted = {case.id for case in team.cases}
    todo = [(member, [case for id, case in member.held.items() if id in wanted]) for member in team.members]
    with talk.bar("predicting held-out images", total=sum(len(cases) for _, cases in todo)) as advance:
        for member, cases in todo:
            left = [case for case in cases if not _is_done(folder / member.name / case.id, member, case)]
            advance(len(cases) - len(left))
            model = as_member(open_model(member.path, probabilities=True)) if left else None
            for case in left:
                assert model is not None
                place = folder / member.name / case.id
                with open_case(case, team.classes) as opened:
                    try:
                        segment_image(model, opened.source, case.image, place, report=False)
                    except OutputError:
                        if not overwrite:
                            raise
                        segment_image(model, opened.source, case.image, place, overwrite=True, report=False)
                advance()


def _is_done(place: Path, member: Member, case: Case) -> bool:
    """Whether there is a prediction by the same weights of the same image, wherever the data set lay then."""
    told = read_json(place / MANIFEST)
    if told.get("weights") != member.digest or not told.get("probabilities"):
        return False
    now = file_fingerprint(case.image)
    return all(told["image"][key] == now[key] for key in ("bytes", "changed"))


class Aligned:
    """Stored probabilities of one image by several runs, read on the finest of their grids.

    Attributes:
        spacing: of that grid.
    """

    def __init__(self, predictions: Sequence[Path], stack: ExitStack) -> None:
        """Open the predictions; `stack` closes them.

        Raises:
            DataError: one is not finished, or holds no probabilities.
        """
        self._sources: list[Source] = []
        for path in predictions:
            told = read_json(path / MANIFEST)
            if not told.get("probabilities"):
                raise DataError(f"{path}: is no finished prediction with probabilities; run the same command again")
            spacing = Spacing(tuple(told["spacing"]["values"]), told["spacing"]["unit"])
            self._sources.append(stack.enter_context(open_image(path / PROBABILITIES, spacing=spacing)))
        self.spacing = min((source.space.spacing for source in self._sources), key=lambda each: math.prod(each.values))

    def levels(self, box: Box) -> np.ndarray:
        """(prediction, class, *box.size) uint8 of a box on that grid; coarser predictions are interpolated linearly."""
        return np.stack([source.read_at(box, self.spacing, pad="edge") for source in self._sources])


class HeldOut:
    """One held-out image: what every column says of it, and the truth."""

    def __init__(self, case: Case, team: Team, folder: Path, stack: ExitStack) -> None:
        self.case = case
        self._opened: OpenCase = stack.enter_context(open_case(case, team.classes))
        self._aligned = Aligned([folder / column.held[case.id].name / case.id for column in team.columns], stack)

    @property
    def space(self) -> Space:
        """Of the image."""
        return self._opened.source.space

    def boxes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(column, class, *spatial) uint8 levels and (class, *spatial) uint8 truth, box by box over the whole image."""
        spacing, annotation = self._aligned.spacing, self._opened.annotation
        assert annotation is not None, "held-out cases are labelled"
        for box in Box.of_shape(self.space.shape_at(spacing)).split((BLOCK[self.space.rank],) * self.space.rank):
            truth = annotation.rasterise(box, spacing)
            yield self._aligned.levels(box), np.where(truth <= 1, truth, np.uint8(UNLABELLED))
