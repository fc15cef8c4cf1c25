"""The page of one ensemble: who is in it, what combining gains on images left out, how far thresholds may be moved."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malpighi.errors import DataError
from malpighi.reports.colors import class_colors, hex_color
from malpighi.reports.html import Report
from malpighi.reports.runfolder import read_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HOW = {
    "weighted": "weighted mean of probabilities",
    "mean": "mean of probabilities",
    "union": "union of masks",
    "vote": "majority of masks",
}


def write_ensemble_report(folder: Path) -> Path:
    """Write `folder/report.html` from its ensemble.json.

    Raises:
        DataError: there is none, or it is damaged.
        OutputError: the page cannot be written.
    """
    folder = Path(folder)
    told = read_json(folder / "ensemble.json")
    if not told:
        raise DataError(f"{folder}: no ensemble.json; give the folder that `malpighi ensemble -o` made")
    members = told["members"]
    names = ", ".join(told["classes"])
    one = len(members) == 1
    what = "Thresholds fitted to one run" if one else f"{len(members)} runs, {_HOW[told['how']]}"
    report = Report(
        folder.resolve().name, f"{what}; {names}; fitted on {len(told['images'])} held-out images.", kind="ensemble"
    )
    _headline(report, told)
    _candidates(report, told)
    _members(report, told)
    _thresholds(report, told)
    _images(report, told)
    _use(report, folder, told)
    return report.write(folder / "report.html")


def _headline(report: Report, told: Mapping[str, Any]) -> None:
    chosen = _chosen(told)
    report.facts(
        {
            "Dice, images left out": chosen.get("by") or chosen.get("nested"),
            "Dice, in sample": chosen["fooled"],
            "Dice at 0.5": chosen["half"],
            "members": sum(member["weight"] > 0 for member in told["members"]),
            "images": len(told["images"]),
        }
    )
    for remark in told["remarks"]:
        report.text(remark[:1].upper() + remark[1:] + ".")


def _chosen(told: Mapping[str, Any]) -> dict[str, Any]:
    return next(dict(each) for each in told["candidates"] if each["name"] == told["chosen"])


def _candidates(report: Report, told: Mapping[str, Any]) -> None:
    report.section(
        "What combining gains",
        "Mean Dice of an image. In sample: weights and thresholds fitted on the very images that are scored. Left out: fitted on the "
        "other groups (donors), scored on the one left out; this is the score to believe, and the one that decides. Masks are scored as "
        "thresholds make them, before `objects.*` and `predict.one_class` tidy them.",
    )
    rows = [
        {
            "candidate": ("▸ " if each["name"] == told["chosen"] else "") + each["name"],
            "left out": _four(each["nested"]),
            **({f"left out, by {told['attribute']}": _four(each["by"])} if told["attribute"] else {}),
            "left out, at 0.5": _four(each["half"]),
            "in sample": _four(each["fooled"]),
        }
        for each in told["candidates"]
    ]
    report.table(rows, caption="▸ is used.")


def _four(score: float | None) -> str | None:
    """Candidates differ in the third digit and the fourth."""
    return None if score is None else f"{score:.4f}"


def _members(report: Report, told: Mapping[str, Any]) -> None:
    report.section("Members", "Members that differ in their fold alone share one weight; one of weight 0 does not predict.")
    rows = [
        {
            "member": each["name"],
            "weight": each["weight"],
            "configuration": each["column"],
            "fold": "none" if each["fold"] < 0 else str(each["fold"]),
            "images held out": each["held_out"],
            "spacing": each["spacing"],
            "run": each["path"],
        }
        for each in told["members"]
    ]
    report.table(rows)
    if len(told["weights"]) > 1:
        found = [
            {"configuration": name} | {how: w[n] for how, w in told["weights"].items()}
            for n, name in enumerate(told["columns"])
        ]
        report.table(found, caption="Weights of the configurations that each search found on all images.")


def _thresholds(report: Report, told: Mapping[str, Any]) -> None:
    if not told["stability"]:
        report.section("Thresholds", "Each member's mask is cut at its own thresholds.")
        cuts = [{"member": each["name"], **each["thresholds"]} for each in told["members"]]
        report.table(cuts)
        return
    report.section(
        "Thresholds",
        f"Stable range: thresholds that lose at most {told['slack']:g} Dice (in sample). A narrow one is delicate. Beside it the rule "
        "that takes a fixed share of each image's voxels (`predict.top`) instead.",
    )
    report.figure(_curves(told), "Mean Dice of an image by threshold, the fitted one and its stable range.")
    rows = []
    for name, each in told["stability"].items():
        rows.append({"class": name, told["attribute"] or "of": "all", **_range(each)})
        rows[-1] |= {"best share, %": each["top"]["percent"], "Dice of the share": each["top"]["dice"]}
        rows += [{"class": name, told["attribute"]: value, **_range(own)} for value, own in each["by"].items()]
    report.table(rows, colors=class_colors(told["classes"]))


def _range(each: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "threshold": each["threshold"],
        "stable range": f"{each['low']:.3f} – {each['high']:.3f}",
        "Dice, in sample": each["dice"],
    }


def _curves(told: Mapping[str, Any]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[:].set_visible(False)
    axes.grid(alpha=0.25, lw=0.7)
    for name, color in class_colors(told["classes"]).items():
        curve, stable, shade = told["curves"]["dice"][name], told["stability"][name], hex_color(color)
        if None in curve:
            continue
        axes.plot(told["curves"]["thresholds"], curve, color=shade, lw=1.6, label=name)
        axes.axvspan(stable["low"], stable["high"], color=shade, alpha=0.12, lw=0)
        axes.axvline(stable["threshold"], color=shade, lw=1, ls=(0, (3, 2)))
    axes.set_xlim(0, 1)
    axes.set_xlabel("threshold", fontsize=9)
    axes.set_ylabel("Dice", fontsize=9)
    axes.tick_params(length=0, labelsize=9)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
    return figure


def _images(report: Report, told: Mapping[str, Any]) -> None:
    report.section("Images", "What everything was fitted on: predictions by runs that were not trained on the image.")
    rows = [
        {**{k: v for k, v in each.items() if k != "dice"}, **{f"Dice {k}": v for k, v in each.get("dice", {}).items()}}
        for each in told["images"]
    ]
    report.table(rows, fold=f"Every image, Dice in sample ({len(rows)})")


def _use(report: Report, folder: Path, told: Mapping[str, Any]) -> None:
    name = shlex.quote(str(folder))
    report.section("How to use it", "As a run. Runs stay where they are, or move together with the ensemble.")
    value = " --set " + shlex.quote(f"ensemble.{told['attribute']}={next(iter(told['by']))}") if told["by"] else ""
    report.code(f"malpighi segment IMAGE -m {name} -o OUT{value}\nmalpighi evaluate OUT TRUTH")
    report.text(
        "`members/` holds the held-out predictions; another fit reads them again. Without it the ensemble still predicts."
    )
