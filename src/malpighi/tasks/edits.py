"""What a person did to predicted outlines, object by object."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from malpighi.annotations.geojson import read_geojson
from malpighi.annotations.outlines import ShapesAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Shape, Space

Kind = Literal["kept", "changed", "retyped", "added", "removed"]
KINDS: tuple[Kind, ...] = ("kept", "changed", "added", "removed", "retyped")
SAME = 0.99
"""IoU from which an outline was left as it was: exports round coordinates, which moves small outlines by less."""
MATCH = 0.5
"""IoU from which two outlines without a common id are of one object."""


@dataclass(frozen=True)
class Edit:
    """One object before and after.

    Attributes:
        before: as predicted; None: it was added.
        after: as a person left it; None: it was removed.
        iou: of the two outlines; 0 where there is one.
    """

    before: Shape | None
    after: Shape | None
    iou: float = 0.0

    @property
    def kind(self) -> Kind:
        """What was done; of one that got another class and another outline, that it got another class."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.label != self.after.label:
            return "retyped"
        return "kept" if self.iou >= SAME else "changed"

    @property
    def _shape(self) -> Shape:
        shape = self.after if self.after is not None else self.before
        assert shape is not None, "an object is there before or after"
        return shape

    @property
    def id(self) -> str:
        """QuPath's id of the object."""
        return self._shape.id

    @property
    def label(self) -> str:
        """Its class; of a removed one the class it had."""
        return self._shape.label


def read_edited(path: Path, space: Space, classes: Sequence[str], *, empty: bool = False) -> tuple[Shape, ...]:
    """The outlines that a person left of a prediction.

    Args:
        path: GeoJSON, as QuPath exports it.
        space: of the image.
        classes: that the prediction knows; an object without a class is of the only one.
        empty: a file without objects is meant so.

    Raises:
        DataError: no object, one of an unknown class or of none, an id twice, or all of them outside the image.
    """
    outlines = read_geojson(path)
    if not outlines.shapes and not empty:
        raise DataError(f"{path}: holds no object; if all of them were removed, say so with --allow-empty")
    unnamed = [shape for shape in outlines.shapes if not shape.label]
    if unnamed and len(classes) > 1:
        raise DataError(
            f"{path}: {len(unnamed)} objects have no class (first: id {unnamed[0].id}); give each one of {', '.join(classes)}"
        )
    shapes = tuple(shape if shape.label else replace(shape, label=classes[0]) for shape in outlines.shapes)
    unknown = sorted({shape.label for shape in shapes} - set(classes))
    if unknown:
        close = difflib.get_close_matches(unknown[0], classes, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise DataError(f"{path}: class {unknown[0]!r} is not one of the prediction's{meant}; known are {', '.join(classes)}")
    ShapesAnnotation(str(path), space, outlines, ()).close()  # refuses outlines that all lie outside the image
    twice = next((one for one, n in Counter(shape.id for shape in shapes).items() if n > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two objects have the id {twice}; export the image's objects once")
    return shapes


def compare(before: Sequence[Shape], after: Sequence[Shape]) -> tuple[Edit, ...]:
    """What became of each object: by its id, or else by where it lies.

    Objects of one id belong together, whatever their outlines. Of the others, pairs with an IoU of `MATCH` or more do, the
    best first, whatever their classes.

    Returns:
        Every object once: those predicted in their order, then those added in theirs.
    """
    own = {shape.id: k for k, shape in enumerate(after)}
    partner = {k: own[shape.id] for k, shape in enumerate(before) if shape.id in own}
    taken = set(partner.values())
    partner |= _by_place(
        before, after, [k for k in range(len(before)) if k not in partner], [k for k in range(len(after)) if k not in taken]
    )
    overlap = _ious(before, after, list(partner.items()))
    edits = [
        Edit(shape, after[partner[k]], overlap[k]) if k in partner else Edit(shape, None) for k, shape in enumerate(before)
    ]
    met = set(partner.values())
    return (*edits, *(Edit(None, shape) for k, shape in enumerate(after) if k not in met))


def require_own(
    edits: Sequence[Edit], file: Path, folder: Path, owners: Callable[[], Mapping[str, str]], *, none_left: bool = False
) -> None:
    """Refuse outlines of another image, told by the ids of another prediction, or by lying where nothing was predicted.

    Args:
        edits: of the whole image.
        file, folder: the edited outlines and the prediction, for errors.
        owners: gives id → name of the prediction that it is of, of all predictions; asked only where no id is this one's.
        none_left: that nothing which was predicted is left is meant so.

    Raises:
        DataError: they are of another image.
    """
    before = [edit.before for edit in edits if edit.before is not None]
    after = [edit.after for edit in edits if edit.after is not None]
    both = [edit for edit in edits if edit.before is not None and edit.after is not None]
    known = bool({one.id for one in before} & {one.id for one in after})
    if after and not known:
        other = next((owners()[one.id] for one in after if one.id in owners()), None)
        if other is not None:
            raise DataError(f"{file}: its objects were predicted of {other}, not of {folder}; name the file as its image")
    if before and after and not any(edit.iou for edit in both) and (known or not none_left):
        meant = "" if known else "; if all that was predicted is wrong, say so with --allow-empty"
        raise DataError(
            f"{file}: none of its {len(after)} objects lies where one of the {len(before)} predicted in {folder} does; it belongs "
            f"to another image, or is not in level-0 pixels{meant}"
        )


def _by_place(before: Sequence[Shape], after: Sequence[Shape], left: list[int], right: list[int]) -> dict[int, int]:
    """Position before → after, of those given, each at most once."""
    import shapely

    if not left or not right:
        return {}
    tree = shapely.STRtree([after[k].geometry for k in right])
    first, second = tree.query([before[k].geometry for k in left], predicate="intersects")
    pairs = [(left[i], right[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)]
    found = [(iou, i, j) for (i, j), iou in zip(pairs, _pair_ious(before, after, pairs), strict=True) if iou >= MATCH]
    out: dict[int, int] = {}
    used: set[int] = set()
    for _, i, j in sorted(found, key=lambda item: (-item[0], item[1], item[2])):
        if i not in out and j not in used:
            out[i] = j
            used.add(j)
    return out


def _ious(before: Sequence[Shape], after: Sequence[Shape], pairs: list[tuple[int, int]]) -> dict[int, float]:
    """Position before → IoU with its partner."""
    return dict(zip([i for i, _ in pairs], _pair_ious(before, after, pairs), strict=True))


def _pair_ious(before: Sequence[Shape], after: Sequence[Shape], pairs: Sequence[tuple[int, int]]) -> list[float]:
    import shapely

    if not pairs:
        return []
    a = np.array([before[i].geometry for i, _ in pairs], object)
    b = np.array([after[j].geometry for _, j in pairs], object)
    both = shapely.area(shapely.intersection(a, b))
    return [float(value) for value in both / (shapely.area(a) + shapely.area(b) - both)]
