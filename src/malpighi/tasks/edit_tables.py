"""What a person did to predicted outlines, in numbers, in one line and in rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from malpighi.geometry import Shape
from malpighi.tasks.edits import KINDS, Edit

COLUMNS = ("image", "object", "kind", "class", "class_before", "iou", "area", "area_before")


def counted(edits: Sequence[Edit]) -> dict[str, Any]:
    """How many objects met which fate; "median_iou" of those that were changed, None where none was."""
    kinds = Counter(edit.kind for edit in edits)
    overlaps = [edit.iou for edit in edits if edit.kind == "changed"]
    return {
        "objects": len(edits),
        **{kind: kinds[kind] for kind in KINDS},
        "median_iou": round(median(overlaps), 4) if overlaps else None,
    }


def spoken(told: Mapping[str, Any]) -> str:
    """What was learnt, in one line: "412 objects: 380 kept, 21 changed (IoU .81), 7 added, 4 removed"."""
    iou = "" if told["median_iou"] is None else f" (IoU {told['median_iou']:.2f})".replace("0.", ".")
    kinds = [f"{told[kind]} {kind}{iou if kind == 'changed' else ''}" for kind in KINDS if told[kind] or kind != "retyped"]
    return f"{told['objects']} object{'s' * (told['objects'] != 1)}: {', '.join(kinds)}"


def change(image: str, edit: Edit) -> dict[str, Any]:
    """The row of one object; areas in level-0 pixels."""

    def area(shape: Shape | None) -> str:
        return "" if shape is None else f"{shape.geometry.area:.1f}"

    known = edit.before is not None and edit.after is not None
    return {
        "image": image,
        "object": edit.id,
        "kind": edit.kind,
        "class": edit.after.label if edit.after is not None else "",
        "class_before": edit.before.label if edit.before is not None else "",
        "iou": f"{edit.iou:.4f}" if known else "",
        "area": area(edit.after),
        "area_before": area(edit.before),
    }
