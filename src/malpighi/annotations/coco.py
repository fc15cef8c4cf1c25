"""COCO JSON: images, categories, and a mask an object as polygons or run lengths; objects may overlap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from malpighi.annotations.base import Annotation
from malpighi.annotations.coco_rle import compress, decompress, from_counts, to_counts
from malpighi.annotations.files import no_collector, once_per_file, replacing
from malpighi.annotations.geojson import parse_json
from malpighi.annotations.instances import Instance, InstancesAnnotation, bounds, drawn
from malpighi.annotations.outlines import ShapesAnnotation, checked, even_odd
from malpighi.annotations.rings import geometries_of
from malpighi.annotations.rle import RunLengths
from malpighi.errors import DataError
from malpighi.geometry import Shape, Space


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file: `name` is its `file_name`, `shape` (y, x)."""

    id: Any
    name: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Coco:
    """A parsed COCO file.

    Attributes:
        classes: category names, in the order of their ids.
        categories: category id → name.
        images: in the file's order.
        annotations: image id → its annotations as they stand in the file.
    """

    path: Path
    categories: Mapping[Any, str]
    images: tuple[CocoImage, ...]
    annotations: Mapping[Any, Sequence[Mapping[str, Any]]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Category names, in the order of their ids."""
        return tuple(self.categories[key] for key in sorted(self.categories))

    def image(self, row: str) -> CocoImage:
        """The image whose `file_name` (with or without folder and suffix) or id is `row`; the only one, where it is one.

        Raises:
            DataError: there are several and none is called so.
        """
        for image in self.images:
            name = PurePosixPath(image.name.replace("\\", "/")).name
            if row and row in (str(image.id), image.name, name, name.split(".")[0], PurePosixPath(name).stem):
                return image
        if len(self.images) == 1:
            return self.images[0]
        near = ", ".join(image.name for image in self.images[:4])
        raise DataError(f"{self.path}: no image {row!r}; {len(self.images)} images such as {near}. Name it with --row")


@once_per_file
def read_coco(path: Path) -> Coco | None:
    """A COCO file; None for any other JSON.

    Raises:
        DataError: not JSON; ids that repeat or point nowhere.
    """
    with no_collector():
        content = parse_json(path)
    if isinstance(content, list) and content and isinstance(content[0], dict) and "category_id" in content[0]:
        raise DataError(f"{path}: a list of COCO results, without images and categories; give the whole COCO file")
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        return None
    try:
        images = tuple(
            CocoImage(one["id"], str(one.get("file_name", one["id"])), (int(one["height"]), int(one["width"])))
            for one in content["images"]
        )
        categories = {one["id"]: str(one["name"]) for one in content.get("categories", [])}
        found: dict[Any, list[Mapping[str, Any]]] = {image.id: [] for image in images}
        if len(found) < len(images):
            raise DataError(f"{path}: an image id is given twice; ids must be unique")
        if len(set(categories.values())) < len(content.get("categories", [])):
            raise DataError(f"{path}: a category's id or name is given twice; both must be unique")
        for number, one in enumerate(content["annotations"], 1):
            if one["image_id"] not in found or one["category_id"] not in categories:
                raise DataError(
                    f"{path}, annotation {one.get('id', number)}: is of image {one['image_id']} and category "
                    f"{one['category_id']}, one of which is not in the file; export it again"
                )
            found[one["image_id"]].append(one)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: not a complete COCO file ({type(error).__name__}: {error}); images have id, width, height, "
            "annotations id, image_id, category_id, segmentation"
        ) from error
    return Coco(Path(path), categories, images, found)


def is_coco(path: Path) -> bool:
    """Whether a `.json` is a COCO file; GeoJSON and polygons are told by their beginning and not parsed."""
    with Path(path).open("rb") as file:
        begin = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin[:2] != b"\x1f\x8b" and (b'"FeatureCollection"' in begin or not begin.startswith((b"{", b"[{"))):
        return False
    return read_coco(Path(path)) is not None


def open_coco(path: Path, space: Space, classes: tuple[str, ...] = (), row: str = "") -> Annotation:
    """The objects of one image of a COCO file.

    Outlines stay outlines where all objects of the image have such. A pixel is inside if its centre is, which differs at
    the border from pycocotools' own filling of polygons by about half a pixel; run lengths are exact.

    Args:
        path: the JSON.
        space: of the image.
        classes: categories to take, in this order; empty: all.
        row: the image's `file_name`, with or without suffix, or its id; may be left out where there is one.

    Raises:
        DataError: no such image, another size, a mask that is broken or missing; names the annotation.
    """
    coco = read_coco(Path(path))
    if coco is None:
        raise DataError(f"{path}: not a COCO file: it has no images and annotations")
    image = coco.image(row)
    name = f"{path}, {image.name}"
    if image.shape != space.shape:
        told, have = (" × ".join(map(str, shape)) for shape in (image.shape, space.shape))
        raise DataError(f"{name}: is of {told} there, the image of {have}; the annotations belong to another image")
    found = coco.annotations[image.id]
    if found and all(isinstance(one.get("segmentation"), list) and not one.get("iscrowd") for one in found):
        shapes = [Shape(_geometry(coco, one), _label(coco, one), _measured(one), id=str(one.get("id"))) for one in found]
        return ShapesAnnotation(name, space, checked(name, shapes), classes or coco.classes)
    return InstancesAnnotation(name, space, list(coco_instances(coco, image)), coco.classes, classes)


def coco_instances(coco: Coco, image: CocoImage) -> Iterator[Instance]:
    """The objects of an image of a COCO file as masks; polygons are drawn, a pixel being inside if its centre is."""
    for one in coco.annotations[image.id]:
        place = _place(coco, one)
        what = one.get("segmentation")
        if isinstance(what, dict):
            runs = _runs(what, image.shape, place)
        else:
            runs = drawn(_geometry(coco, one), image.shape)
        score = one.get("score")
        yield Instance(_label(coco, one), runs, None if score is None else float(score), place, bool(one.get("iscrowd")))


def _runs(what: Mapping[str, Any], shape: tuple[int, int], place: str) -> RunLengths:
    size, counts = what.get("size"), what.get("counts")
    if list(size or ()) != list(shape):
        raise DataError(f"{place}: its mask is of {size}, the image of {list(shape)} (height, width); export it again")
    if isinstance(counts, str):
        return from_counts(decompress(counts, place), shape, place)
    if isinstance(counts, list) and all(isinstance(count, int) for count in counts):
        return from_counts(counts, shape, place)
    raise DataError(f"{place}: its counts are neither a string nor whole numbers; export it again")


def _geometry(coco: Coco, one: Mapping[str, Any]) -> Any:
    """Polygons of an annotation: [[x, y, x, y, …], …]; parts that overlap are one."""
    import shapely

    place, parts = _place(coco, one), one.get("segmentation")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, list) and len(part) % 2 == 0 for part in parts):
        raise DataError(f"{place}: has no mask: neither polygons [[x, y, …], …] nor run lengths; export it with segmentation")
    rings = [[[list(zip(part[0::2], part[1::2], strict=True))]] for part in parts]
    solid = [geometry if geometry.is_valid else even_odd(geometry) for geometry in geometries_of(place, rings)]
    return solid[0] if len(solid) == 1 else shapely.union_all(solid)


def _label(coco: Coco, one: Mapping[str, Any]) -> str:
    return coco.categories[one["category_id"]]


def _measured(one: Mapping[str, Any]) -> dict[str, float]:
    return {} if one.get("score") is None else {"score": float(one["score"])}


def _place(coco: Coco, one: Mapping[str, Any]) -> str:
    return f"{coco.path}, annotation {one.get('id')}"


def write_coco(path: Path, images: Iterable[tuple[str, tuple[int, int], Iterable[Instance]]], classes: Sequence[str]) -> int:
    """Write (file name, (y, x) shape, objects) as they come: compressed run lengths, box, area, and scores where known.

    Ids of images, annotations and categories count from 1. Objects without a pixel are left out.

    Args:
        path: replaced only when all is written.
        classes: the categories, in this order; every object is of one of them.

    Returns:
        How many objects were written.
    """
    number = {name: k for k, name in enumerate(classes, 1)}
    head = [{"id": k, "name": name} for name, k in number.items()]
    listed: list[dict[str, Any]] = []
    count = 0
    with replacing(Path(path)) as part, part.open("w", encoding="utf-8") as out:
        out.write(f'{{"categories": {json.dumps(head, ensure_ascii=False)},\n"annotations": [')
        for name, (height, width), instances in images:
            listed.append({"id": len(listed) + 1, "file_name": name, "height": height, "width": width})
            for item in instances:
                if not item.runs.area:
                    continue
                count += 1
                told = _written(item, count, len(listed), number[item.label])
                out.write((",\n" if count > 1 else "\n") + json.dumps(told))
        out.write(f'\n],\n"images": {json.dumps(listed, ensure_ascii=False)}}}\n')
    return count


def _written(item: Instance, number: int, image: int, category: int) -> dict[str, Any]:
    box = bounds(item.runs)
    told = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": list(item.runs.shape), "counts": compress(to_counts(item.runs))},
        "bbox": [box.start[1], box.start[0], box.size[1], box.size[0]],
        "area": item.runs.area,
        "iscrowd": int(item.crowd),
    }
    return told if item.score is None else told | {"score": item.score}
