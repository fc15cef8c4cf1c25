"""Remarks on a survey: what is readable but may surprise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from malpighi.sampling.survey import Survey


def remarks(found: Survey) -> Iterator[str]:
    """One line each: mixed types, missing pixel sizes, empty annotations, specks, the same image in two groups."""
    for what, values in (("value types", found.dtypes), ("channel counts", found.channels)):
        if len(values) > 1:
            spelt = ", ".join(f"{value} ({count})" for value, count in values.items())
            yield f"the images differ in {what}: {spelt}"
    if "px" in found.spacings and len(found.spacings) > 1:
        yield f"images without a pixel size: {found.spacings['px']}, where the others have one; give it with --spacing or in manifest.csv"
    elif "px" in found.spacings:
        yield "no pixel size is known: everything is in pixels; give it with --spacing where you know it"
    ranks = Counter(len(fact.shape) for fact in found.readable)
    if len(ranks) > 1:
        yield f"2-D and 3-D images are mixed: {ranks[2]} and {ranks[3]}"
    uneven = [fact for fact in found.readable if len(fact.shape) == 3 and not fact.spacing]
    if uneven:
        yield (
            f"{len(uneven)} volumes without a voxel size count as evenly spaced, such as {uneven[0].id}: slices are often "
            "further apart than pixels; give --spacing as z,y,x"
        )
    yield from _on_labels(found)
    group = {case.id: case.value("group") for case in found.table.cases}
    for ids in found.duplicates:
        apart = len({group[name] for name in ids}) > 1
        danger = "; they are in different groups, so a fold may validate on what it trained on" if apart else ""
        yield f"the same image file: {', '.join(ids)}{danger}"


def _on_labels(found: Survey) -> Iterator[str]:
    empty = [fact.id for fact in found.readable if fact.objects and not any(o.share > 0 for o in fact.objects.values())]
    if empty:
        yield f"annotations without any object: {len(empty)}, such as {empty[0]}"
    for name, facts in found.classes.items():
        if found.table.labelled and not facts.objects and not found.problems:
            yield f"class {name!r} has no object in any case"
        specks = int((facts.diameters_px < (facts.typical_px or 0) / 10).sum())
        if specks:
            yield f"class {name!r}: {specks} of {facts.objects} objects are specks, less than a tenth of the typical diameter across"
    partly = [fact for fact in found.readable if fact.annotated < 1 and fact.annotated_slices > 0]  # volumes
    for fact in partly:
        share, slices = (f"{100 * part:.3g} %" for part in (fact.annotated, fact.annotated_slices))
        yield f"{fact.id} is annotated in {share} of its voxels, on {slices} of its slices; the rest is unlabelled, not background"
    coarse = [fact for fact in found.readable if fact.reduction > 1]
    if coarse:
        yield f"objects of {len(coarse)} large images were measured at 1/{max(f.reduction for f in coarse):g} of their resolution"
    noted = [line for fact in found.readable for line in fact.notes]
    yield from noted[:20]
    if len(noted) > 20:
        yield f"and {len(noted) - 20} more notes of this kind"
