"""`ensemble`, whole: runs → held-out predictions → weights and thresholds → ensemble.json, report. Goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from malpighi.errors import DataError, RecipeError
from malpighi.inference.ensemble_combine import HOWS, How
from malpighi.reports.ensemble import write_ensemble_report
from malpighi.reports.runfolder import read_json
from malpighi.tasks.claim import claim
from malpighi.tasks.ensemble.choose import about_votes
from malpighi.tasks.ensemble.fit import SEARCHES, Fit, Fitting, Search, fit, outer_folds
from malpighi.tasks.ensemble.folder import NAME
from malpighi.tasks.ensemble.held_out import HeldOut, predict_held_out
from malpighi.tasks.ensemble.members import Team, gather_team
from malpighi.tasks.ensemble.passes import count
from malpighi.tasks.ensemble.told import told
from malpighi.tasks.prepare import write_json
from malpighi.tasks.talk import Talk

PLAN, REPORT, MEMBERS = "plan.json", "report.html", "members"


def ensemble(
    runs: Sequence[Path],
    out: Path,
    *,
    by: str | None = None,
    how: How = "weighted",
    search: Search = "both",
    nested: bool = True,
    data: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Make an ensemble of finished runs: `segment -m OUT` then takes it as it takes a run. Of one run: fit its thresholds.

    Everything is fitted on predictions of images by runs that were not trained on them. These are made into OUT/members and
    kept: the same call goes on where it was stopped, and another fit (`overwrite`) need not make them again.

    Args:
        runs: folders of `malpighi train`: folds, seeds, scales, networks, of the same data.
        out: folder to make.
        by: attribute ("organ", "stain", …) by whose values thresholds may differ, where a value has enough images.
        how: "weighted": weights are searched, and used where they gain on images left out, else the plain mean; "mean";
            "union" and "vote" (more than half) of the members' masks, each cut at its own thresholds.
        search: of "weighted": "convex", "evolution", or both.
        nested: leave out groups in turn to score what was fitted without them.
        data: where the data set lies now, if not where the runs were trained on it.
        seed: of sample and search.
        overwrite: fit again, whatever `out` holds.
        talk: where to report.

    Returns:
        What ensemble.json says.

    Raises:
        MalpighiError: of the kind that says what is wrong: options, runs, data or output.
    """
    talk, out, began = talk or Talk(), Path(out), time.monotonic()
    if not runs:
        raise RecipeError("no runs given; name one or more folders of `malpighi train`")
    if how not in HOWS or search not in SEARCHES:
        raise RecipeError(f"--how {how} --search {search}: use {', '.join(HOWS)} and {', '.join(SEARCHES)}")
    team = gather_team(runs, data)
    if by is not None and (by not in team.keys or all(case.value(by) == "unknown" for case in team.cases)):
        raise RecipeError(f"--by {by}: cases have no {by!r}; they can be told apart by {', '.join(team.keys)}")
    asked = {
        "runs": {str(m.path): m.digest for m in team.members},
        "by": by,
        "how": how,
        "search": search,
        "nested": nested,
        "seed": seed,
    }
    if overwrite and (out / PLAN).is_file():  # predictions of members are kept: they know themselves whether they still hold
        for name in (NAME, REPORT, PLAN):
            (out / name).unlink(missing_ok=True)
    if claim(out, PLAN, asked, overwrite=False, unmarked=(MEMBERS,)) and (out / NAME).is_file():
        talk.say(f"{out} is finished; make another into another -o, or fit it again with --overwrite")
        if not (out / REPORT).is_file():  # stopped between the two
            write_ensemble_report(out)
        return read_json(out / NAME)
    write_json(out / PLAN, {"asked": asked})
    for remark in team.remarks:
        talk.say(f"[yellow]note:[/yellow] {remark}")
    predict_held_out(team, out / MEMBERS, overwrite, talk)
    found = _fit(team, out / MEMBERS, by, how, search, nested, seed, talk)
    result = told(team, found, out, by)
    result |= {"asked": asked, "version": version("malpighi"), "seconds": round(time.monotonic() - began, 1)}
    write_json(out / NAME, result)
    for remark in found.remarks:
        talk.say(remark)
    talk.say(f"report: {write_ensemble_report(out)}")
    return result


def _fit(team: Team, folder: Path, by: str | None, how: How, search: Search, nested: bool, seed: int, talk: Talk) -> Fit:
    """Both passes over the held-out predictions, and the search between them."""

    @contextmanager
    def open_one(image: int) -> Iterator[HeldOut]:
        with ExitStack() as stack:
            yield HeldOut(team.cases[image], team, folder, stack)

    with talk.bar("counting held-out voxels", total=len(team.cases)) as advance:
        counted = count(open_one, len(team.cases), len(team.columns), len(team.classes), seed, advance)
    if not counted.mean[..., :2].any():
        raise DataError(f"{folder.parent}: no voxel of the held-out images is labelled; nothing can be fitted")
    values = None if by is None else [case.value(by) for case in team.cases]
    names = [column.name for column in team.columns]
    work = Fitting(open_one, counted, names, outer_folds(team.cases), values, seed)
    with talk.bar("searching, and counting what was found", total=len(team.cases)) as advance:
        found = fit(work, how, search, nested, advance)
    members = [len(column.members) for column in (*team.columns, *team.spare)]
    return replace(found, remarks=(*found.remarks, *about_votes(how, members)))
