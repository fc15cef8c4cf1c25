"""Label images of any image format: PNG, TIFF, OME-Zarr, NIfTI, …, read box by box through a `Source`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from malpighi.annotations.base import UNLABELLED, UNNAMED, Annotation
from malpighi.annotations.combined import CombinedAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Box, Space, Spacing
from malpighi.images.base import Source
from malpighi.images.resample import resample, support

BLOCK = {2: 2048, 3: 160}
"""Side of the boxes in which a mask is looked through for objects, by rank."""


class MaskAnnotation(Annotation):
    """A label image.

    One class: every voxel that is not 0 is of it, so that 0/1, 0/255 and images of numbered objects all do; where more
    than one value occurs, the values are the objects. Several classes: value k is class k, counted from 1, 0 is
    background, 255 is unlabelled, anything else an error. A grey mask saved as RGB(A) is taken as grey; one with real
    colours is refused, because nothing says what they mean.

    The mask has the image's size, or is smaller by exactly one whole number (each side n/k, rounded either way): then
    each of its voxels stands for k × k of the image.
    """

    def __init__(
        self,
        source: Source,
        space: Space,
        classes: tuple[str, ...] = (),
        nearest_pyramid: bool = False,
        unlabelled: int | None = None,
    ) -> None:
        """Check sizes; no voxel is read.

        Args:
            source: of the mask; its own spacing is not used.
            space: of the image.
            classes: what the values mean; none: the one class `UNNAMED`.
            nearest_pyramid: the mask's coarser levels hold labels (OME-Zarr), not averages of them, and may be read.
            unlabelled: a value that says that nobody said what is there, also where there is one class.
        """
        super().__init__(source.name, space, classes or (UNNAMED,))
        if not (np.issubdtype(source.dtype, np.integer) or source.dtype == bool):
            raise DataError(f"{source.name}: a mask of {source.dtype}; label images hold whole numbers, convert it first")
        self._source = source
        self._pyramid = nearest_pyramid
        self._unlabelled = unlabelled
        self._reduction = _reduction(source.name, source.shape, space.shape)
        if self._reduction > 1:
            small, whole = (" × ".join(map(str, shape)) for shape in (source.shape, space.shape))
            self.notes = (f"the mask is {small}, the image {whole}: each mask pixel stands for {self._reduction} of each side",)

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        labels = self._labels(box, spacing)
        unsaid = None if self._unlabelled is None else labels == self._unlabelled
        if len(self.classes) == 1:
            layers = (labels != 0).astype(np.uint8)[None]
        else:
            layers = self._by_value(labels if unsaid is None else np.where(unsaid, 0, labels), box)
        if unsaid is not None:
            layers[:, unsaid] = UNLABELLED
        return layers

    def _by_value(self, labels: np.ndarray, box: Box) -> np.ndarray:
        unknown = (labels > len(self.classes)) & (labels != UNLABELLED)
        if labels.dtype.kind == "i":
            unknown |= labels < 0
        if unknown.any():
            raise DataError(
                f"{self.name}: value {labels[unknown][0]} in {box} stands for no class; {len(self.classes)} classes "
                f"({', '.join(self.classes)}) take the values 1 to {len(self.classes)}, 0 is background, 255 unlabelled"
            )
        layers = np.stack([(labels == k).astype(np.uint8) for k in range(1, len(self.classes) + 1)])
        layers[:, labels == UNLABELLED] = UNLABELLED
        return layers

    @cached_property
    def has_objects(self) -> bool:
        """Whether one class has several values: looks through the mask until a second is met, all of it if binary."""
        if len(self.classes) > 1:
            return False
        low, high = np.inf, 0
        for box in Box.of_shape(self._source.shape).split((BLOCK[self._source.space.rank],) * self._source.space.rank):
            labels = self._plane(self._source.read(box))
            labels = labels[labels != 0] if self._unlabelled is None else labels[(labels != 0) & (labels != self._unlabelled)]
            if labels.size:
                low, high = min(low, int(labels.min())), max(high, int(labels.max()))
            if low < high:
                return True
        return False

    def _instances(self, box: Box, spacing: Spacing, classes: tuple[str, ...]) -> np.ndarray:
        if not self.has_objects:
            return super()._instances(box, spacing, classes)
        if self.classes[0] not in classes:
            return np.zeros(box.size, np.int32)
        labels = self._labels(box, spacing).astype(np.int32)
        return labels if self._unlabelled is None else np.where(labels == self._unlabelled, 0, labels)

    def _labels(self, box: Box, spacing: Spacing) -> np.ndarray:
        """(*spatial) values of the voxels at the centres of `box`'s."""
        ratio = tuple(r / self._reduction for r in spacing.over(self.space.spacing))
        if self._pyramid:
            own = self._source.space.spacing.times(ratio)
            return self._plane(self._source.read_at(box, own, pad="edge", method="nearest"))
        if all(abs(r - 1) < 1e-6 for r in ratio):
            return self._plane(self._source.read(box, pad="edge"))
        needed = support(box, ratio, "nearest")
        return self._plane(resample(self._source.read(needed, pad="edge"), needed, box, ratio, "nearest"))

    def _plane(self, array: np.ndarray) -> np.ndarray:
        """The one channel of labels."""
        colours = array[:3] if len(array) in (3, 4) else array[:1] if len(array) == 2 else array
        if len(colours) > 1 and not (colours[1:] == colours[:1]).all():
            raise DataError(
                f"{self.name}: a colour mask, {len(colours)} channels that differ; save it as a label image with the "
                "values 1, 2, … for the classes, or as one binary mask a class"
            )
        return colours[0]

    def close(self) -> None:
        """Let go of the mask's file."""
        self._source.close()


def _reduction(name: str, have: tuple[int, ...], image: tuple[int, ...]) -> int:
    """How many image voxels a mask voxel spans along each side."""
    if len(have) == len(image):
        largest = max(1, round(max(n / m for n, m in zip(image, have, strict=True))))
        for k in {1, largest}:
            if all(m in (n // k, -(-n // k)) for n, m in zip(image, have, strict=True)):
                return k
    mask, whole = (" × ".join(map(str, shape)) for shape in (have, image))
    raise DataError(
        f"{name}: a mask of {mask} for an image of {whole}; sizes must be equal, or the mask smaller by a whole number"
    )


def open_mask(
    path: Path,
    space: Space,
    classes: tuple[str, ...] = (),
    on_damage: Literal["raise", "fill"] = "raise",
    unlabelled: int | None = None,
) -> Annotation:
    """A label image, or an OME-Zarr whose `labels/` group holds one label image a class (what `segment` writes).

    Args:
        path: any image that `open_image` reads, without loss.
        space: of the image the labels belong to.
        classes: what the values mean; for a `labels/` group, which of its label images to take (all where empty).
        on_damage: as for `open_image`.
        unlabelled: value where nobody said what is there.
    """
    from malpighi.images.open import open_image

    path = Path(path)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(f"{path}: a mask saved as JPEG has lost its values at every border; save it as PNG or TIFF")
    names = label_images(path)
    if not names:
        source = open_image(path, on_damage=on_damage, labels=True)
        return MaskAnnotation(source, space, classes, path.suffix.lower() == ".zarr", unlabelled)
    parts = []
    for name, means in names.items():
        if classes and not set(classes) & set(means):
            continue
        source = open_image(path / "labels" / name, on_damage=on_damage, labels=True)
        parts.append(MaskAnnotation(source, space, means, True, unlabelled))
    if not parts:
        raise DataError(f"{path}: holds labels of {', '.join(names)}, none of the classes asked for ({', '.join(classes)})")
    return parts[0] if len(parts) == 1 else CombinedAnnotation(str(path), tuple(parts))


def label_images(path: Path) -> dict[str, tuple[str, ...]]:
    """The label images in an OME-Zarr's `labels/` group → their classes; empty where there is no such group.

    Classes are what `image-label` says of the values 1, 2, …; a label image that says nothing is one class of its name.
    """
    if not (Path(path) / "labels").is_dir():
        return {}
    import zarr

    from malpighi.images import ngff

    group = zarr.open_group(Path(path) / "labels", mode="r")
    found = {}
    for name in ngff.entries(group.attrs.asdict()).get("labels", []):
        properties = ngff.entries(group[name].attrs.asdict()).get("image-label", {}).get("properties") or []
        named = {p["label-value"]: str(p["class"]) for p in properties if "class" in p and "label-value" in p}
        in_order = sorted(named) == list(range(1, len(named) + 1))
        found[name] = tuple(named[v] for v in sorted(named)) if named and in_order else (name,)
    return found
