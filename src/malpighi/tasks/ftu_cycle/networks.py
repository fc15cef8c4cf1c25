"""The networks of a cycle: each a run folder that `train` makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from malpighi.recipes.load import read_raw
from malpighi.reports.runfolder import read_json
from malpighi.sampling.cases import Case, CaseTable
from malpighi.tasks.ftu_cycle.work import Network, Work
from malpighi.tasks.train import SCORES, SUMMARY, train_cases

FILLED = "filled.toml"
"""The recipe with every value in place; each network's differs from it by fold and spacing alone."""


def train_network(work: Work, network: Network, pseudo: Sequence[Case]) -> dict[str, Any]:
    """Train a network of the cycle, or go on with it; its summary.

    One that only labels learns from the teaching images alone, less a fold of them that chooses its best step: no held-out
    image teaches a label.
    """
    run = work.out / network.name
    if (run / SUMMARY).is_file():
        return read_json(run / SUMMARY)
    told = f"{len(pseudo)} images with pseudo-labels" if pseudo else "what people labelled"
    work.talk.say(f"[bold]{network.name}[/bold]: training on {told}")
    asked = {**work.asked, "recipe": recipe_of(work, network), "pseudo": [[case.id, case.pseudo] for case in pseudo]}
    return train_cases(lambda: _table(work, network), asked["recipe"], run, asked, pseudo=pseudo, talk=work.talk)


def recipe_of(work: Work, network: Network) -> dict[str, Any]:
    """The recipe of a network, raw."""
    changes = []
    if network.fold is not None:
        changes += [f"data.folds={work.options.folds}", f"data.fold={network.fold}"]
    if network.group is not None:
        values, times = work.recipe.data.spacing, work.options.reductions[network.group]
        changes.append(f"data.spacing={[v * times for v in values] if isinstance(values, tuple) else values * times}")
    return read_raw(str(work.out / FILLED), changes)


def _table(work: Work, network: Network) -> CaseTable:
    """The labelled cases that a network sees."""
    if network.fold is None:
        return work.table
    return replace(work.table, cases=tuple(work.table.cases[i] for i in work.fold.train), notes=())


def score_of(run: Path) -> float:
    """Mean Dice of the held-out images, as `evaluate` scores masks: on the images' own grid, whatever the working spacing."""
    return float(read_json(run / SCORES).get("dice") or 0.0)
