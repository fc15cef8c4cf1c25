"""What the input of a conversion is, and its labels, opened on the grid of the image that they belong to."""

from __future__ import annotations

from pathlib import Path

from malpighi.annotations.base import Annotation
from malpighi.annotations.open import open_annotation, read_outlines, suffix_of
from malpighi.errors import DataError
from malpighi.geometry import Space, Spacing
from malpighi.tasks.convert_asked import Conversion
from malpighi.tasks.convert_instances import image_size
from malpighi.tasks.convert_volumes import NIFTI

OUTLINES = (".geojson", ".geojson.gz", ".json", ".zip", ".roi")
"""Formats of outlines: from one to another no pixel is drawn, so that no image's size is needed."""


def holds_image(asked: Conversion, suffix: str) -> bool:
    """An image and not labels: nothing that only labels have was said or is there.

    A 2-D image is copied to .zarr and NIfTI alone; what else is written of it are labels. A volume is copied to anything.
    """
    from malpighi.annotations.masks import label_images
    from malpighi.images.open import is_image, open_image

    volume = _is_volume_folder(asked)
    if suffix not in (".zarr", *NIFTI, ".tif", ".tiff", "") or not (volume or is_image(asked.source)):
        return False
    if asked.classes or asked.image or asked.objects or label_images(asked.source):
        return False
    if volume or suffix in (".zarr", *NIFTI):
        return True
    with open_image(asked.source) as source:
        return source.space.rank == 3


def _is_volume_folder(asked: Conversion) -> bool:
    """A folder of a volume's slices: of numbered TIFFs, or of other numbered images where the spacing has three axes."""
    from malpighi.images.stack import find_slices, is_slices

    if (asked.source / "masks").is_dir() or not is_slices(asked.source):
        return False
    told = isinstance(asked.spacing, Spacing) and asked.spacing.rank == 3
    return told or find_slices(asked.source).files[0].suffix.lower() in (".tif", ".tiff")


def open_labels(asked: Conversion) -> Annotation:
    """The labels, or the masks of a prediction, as an annotation of the image.

    Raises:
        DataError: the input is unreadable, or the image's size is needed and unknown.
    """
    if _is_prediction(asked.source):
        from malpighi.sampling.inclasses import InClasses
        from malpighi.tasks.prediction import Prediction

        predicted = Prediction(asked.source)
        return InClasses(predicted, asked.classes) if asked.classes else predicted
    space = _space(asked)
    if space is None:
        raise DataError(
            f"{asked.source}: its image's size is needed; name the image with --image, or give --width and --height"
        )
    order = asked.order or ("C" if space.rank == 3 else "F")
    return open_annotation(asked.source, space, asked.classes, asked.row, order, numbers=numbers_of_slices(asked))


def numbers_of_slices(asked: Conversion) -> tuple[int, ...]:
    """Of the volume that the labels belong to; empty where it is no folder of slices."""
    from malpighi.images.stack import slice_numbers

    image = asked.image or made_from(asked) or (asked.source if _is_volume_folder(asked) else None)
    return slice_numbers(image) if image is not None else ()


def made_from(asked: Conversion) -> Path | None:
    """The image that a prediction was made from."""
    if not _is_prediction(asked.source):
        return None
    from malpighi.tasks.prediction import Prediction

    made = Prediction(asked.source)
    made.close()
    return Path(made.manifest["image"].get("path", "."))


def _is_prediction(path: Path) -> bool:
    """A folder that `segment` wrote: its masks lie at the network's spacing, its manifest knows the image's."""
    from malpighi.inference.manifest import MANIFEST

    return (path / MANIFEST).is_file()


def _space(asked: Conversion) -> Space | None:
    """Of the image the labels belong to: asked of the image, told, or that of the label image itself."""
    from malpighi.annotations.folders import size_of_folder
    from malpighi.annotations.masks import label_images
    from malpighi.images.open import is_image, open_image, spacing_for

    if asked.image is not None:
        with open_image(asked.image, spacing=asked.spacing) as image:
            return image.space
    spacing = None if asked.spacing is None else spacing_for(asked.spacing, 2, str(asked.source))
    if asked.size is not None:
        return Space.of_shape(asked.size, spacing)
    if is_image(asked.source) or _is_volume_folder(asked):
        inside = next(iter(label_images(asked.source)), None)
        path = asked.source if inside is None else asked.source / "labels" / inside
        with open_image(path, spacing=asked.spacing, labels=True) as image:
            return image.space
    if asked.source.is_dir():
        return Space.of_shape(size_of_folder(asked.source), spacing)
    shape = image_size(asked.source, asked.row) or _around_outlines(asked)
    return Space.of_shape(shape, spacing) if shape is not None else None


def _around_outlines(asked: Conversion) -> tuple[int, int] | None:
    """(y, x) that holds all outlines, where nothing but outlines is made of them."""
    outlines = read_outlines(asked.source)
    if outlines is None or suffix_of(asked.target) not in OUTLINES or asked.style:
        return None
    bounds = [shape.geometry.bounds for shape in outlines.shapes] or [(0, 0, 1, 1)]
    height, width = (int(max(1, *(b[axis] for b in bounds))) + 1 for axis in (3, 2))
    return height, width
