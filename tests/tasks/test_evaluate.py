"""evaluate on images whose scores a reader can compute."""

import numpy as np
import pytest

from malpighi.annotations.geojson import write_geojson
from malpighi.errors import DataError
from malpighi.geometry import Shape
from malpighi.tasks.evaluate import evaluate


def _png(path, array):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _square(start, side, shape=(40, 40)):
    mask = np.zeros(shape, np.uint8)
    mask[start : start + side, start : start + side] = 255
    return mask


@pytest.fixture
def data(tmp_path):
    """Two images: in `a` the truth is a 10² square, in `b` nothing."""
    for name, mask in {"a": _square(10, 10), "b": np.zeros((40, 40), np.uint8)}.items():
        _png(tmp_path / "data/images" / f"{name}.png", np.full((40, 40, 3), 200, np.uint8))
        _png(tmp_path / "data/masks" / f"{name}.png", mask)
    return tmp_path / "data"


def test_masks_by_hand(data, tmp_path):
    # a: the same square moved by 5: 25 pixels shared, 100 each: Dice .25; b: both empty: 1
    _png(tmp_path / "out/a.png", _square(15, 10))
    _png(tmp_path / "out/b.png", np.zeros((40, 40), np.uint8))
    result = evaluate(tmp_path / "out", data)
    assert result["dice"] == pytest.approx((0.25 + 1) / 2)
    assert result["pooled_dice"] == pytest.approx(0.25)
    assert result["iou"] == pytest.approx(25 / 175)
    assert result["objects"]["f1"] == 0  # IoU 25/175 is no match
    assert result["missing"] == []


def test_outlines_are_scored_too_and_missing_ones_are_named(data, tmp_path):
    from shapely.geometry import box

    (tmp_path / "out").mkdir()
    write_geojson(tmp_path / "out/a.geojson", [Shape(box(10, 10, 20, 20), "object")])
    result = evaluate(tmp_path / "out", data)
    assert result["dice"] == 1.0
    assert result["objects"]["f1"] == 1.0
    assert result["missing"] == ["b"]


def test_the_page_shows_best_and_worst(data, tmp_path):
    _png(tmp_path / "out/a.png", _square(15, 10))
    _png(tmp_path / "out/b.png", np.zeros((40, 40), np.uint8))
    evaluate(tmp_path / "out", data, report=tmp_path / "scores.html")
    page = (tmp_path / "scores.html").read_text()
    assert "best: b" in page
    assert "worst: a" in page


def test_unlabelled_is_scored_nowhere(tmp_path):
    """Two structures, each tile annotated for its own: a wrong guess at the other structure costs nothing."""
    for structure, name in (("tuft", "im_1_1"), ("capsule", "im_2_1")):
        folder = tmp_path / "data" / structure / "pas"
        _png(folder / "images" / f"{name}.png", np.full((40, 40, 3), 200, np.uint8))
        _png(folder / "masks" / f"{name}.png", _square(10, 10))
    for name in ("im_1_1", "im_2_1"):
        _png(tmp_path / "out" / f"{name}.png", _square(10, 10) // 255)
    result = evaluate(tmp_path / "out", tmp_path / "data", only={"class": ["tuft"]})
    assert result["dice"] == 1.0
    assert set(result["by"]["class"]) == {"tuft"}


def test_bare_annotations_are_matched_by_name(data, tmp_path):
    _png(tmp_path / "out/a.png", _square(15, 10))
    _png(tmp_path / "out/b.png", np.zeros((40, 40), np.uint8))
    assert evaluate(tmp_path / "out", data / "masks")["dice"] == pytest.approx((0.25 + 1) / 2)
    assert evaluate(tmp_path / "out/a.png", data / "masks/a.png")["dice"] == pytest.approx(0.25)


def test_one_prediction_is_not_scored_for_two_images_of_one_name(tmp_path):
    for structure in ("tuft", "capsule"):
        folder = tmp_path / "data" / structure / "pas"
        _png(folder / "images/im_1_1.png", np.full((40, 40, 3), 200, np.uint8))
        _png(folder / "masks/im_1_1.png", _square(10, 10))
    _png(tmp_path / "out/im_1_1.png", _square(10, 10) // 255)
    with pytest.raises(DataError, match=r"both .* and"):
        evaluate(tmp_path / "out", tmp_path / "data")


def test_nothing_that_matches_is_an_error_that_names_both(data, tmp_path):
    _png(tmp_path / "out/c.png", _square(15, 10))
    with pytest.raises(DataError, match=r"found c, wanted a, b"):
        evaluate(tmp_path / "out", data)


def test_a_mask_of_another_size_is_an_error(data, tmp_path):
    _png(tmp_path / "out/a.png", _square(15, 10, (41, 39)))
    with pytest.raises(DataError, match="41"):
        evaluate(tmp_path / "out", data)
