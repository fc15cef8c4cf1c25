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


# -- volumes ----------------------------------------------------------------------------------------------------------
def _volumes(folder, **masks):
    """OME-TIFF volumes of 2 × 1 × 1 µm, with masks."""
    import tifffile

    for name, mask in masks.items():
        for kind, array in (("images", (mask * 90 + 10).astype(np.uint8)), ("masks", mask.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            size = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
            tifffile.imwrite(folder / kind / f"{name}.ome.tif", array, metadata={"axes": "ZYX", **size}, ome=True)
    return folder


def _tube(shape=(12, 16, 40), start=4):
    mask = np.zeros(shape, bool)
    mask[4:8, start : start + 5, 3:37] = True
    return mask


def test_volumes_get_the_scores_of_surfaces_and_topology(tmp_path):
    from malpighi.metrics.surface import surface_overlap

    truth, moved = _tube(), _tube(start=5)
    broken = truth.copy()
    broken[:, :, 18:21] = False
    data = _volumes(tmp_path / "data", a=truth, b=truth)
    _volumes(tmp_path / "out", a=moved, b=broken)
    result = evaluate(tmp_path / "out" / "masks", data)
    a, b = result["cases"]
    spacing = (2, 1, 1)
    assert a["surface_dice"] == pytest.approx(surface_overlap(moved, truth, spacing).dice)
    assert a["nsd"] == 1.0  # one voxel of the finest axis is all it is off
    assert (a["cldice"], a["betti0_error"]) == (1.0, 0.0)
    assert b["nsd"] == pytest.approx(surface_overlap(broken, truth, spacing, 1).dice)
    assert b["betti0_error"] == 1.0
    assert 0.8 < b["cldice"] < 1
    for name in ("surface_dice", "nsd", "cldice", "betti0_error"):
        assert result[name] == pytest.approx((a[name] + b[name]) / 2)
        assert result["by"]["class"]["object"][name] == result[name]
    assert result["nsd_tolerance"] == "1 voxel"


def test_the_tolerance_is_the_users(tmp_path):
    from malpighi.errors import RecipeError

    data = _volumes(tmp_path / "data", a=_tube())
    _volumes(tmp_path / "out", a=np.roll(_tube(), 1, 0))  # one slice, that is 2 µm
    masks = tmp_path / "out" / "masks"
    assert evaluate(masks, data, objects=False)["nsd"] < 1
    assert evaluate(masks, data, objects=False, tolerance="2 voxels")["nsd"] == 1
    assert evaluate(masks, data, objects=False, tolerance="2um")["nsd"] == 1
    assert evaluate(masks, data, objects=False, tolerance="0")["nsd"] == evaluate(masks, data)["surface_dice"]
    with pytest.raises(RecipeError, match="tolerance 'far'"):
        evaluate(masks, data, tolerance="far")


def test_micrometres_need_a_voxel_size(tmp_path):
    import tifffile

    from malpighi.errors import SpacingError

    for part in ("data/images", "data/masks", "out"):
        (tmp_path / part).mkdir(parents=True)
        tifffile.imwrite(tmp_path / part / "a.tif", _tube().astype(np.uint8), metadata={"axes": "ZYX"})
    with pytest.raises(SpacingError, match="--spacing"):
        evaluate(tmp_path / "out", tmp_path / "data", tolerance="2um")
    assert evaluate(tmp_path / "out", tmp_path / "data", tolerance="2um", spacing=1.5, objects=False)["nsd"] == 1


def test_empty_volumes_are_said_not_hidden(tmp_path):
    from malpighi.metrics.report import text_table

    nothing = np.zeros_like(_tube())
    data = _volumes(tmp_path / "data", a=_tube(), b=nothing, c=nothing)
    _volumes(tmp_path / "out", a=nothing, b=nothing, c=_tube())
    result = evaluate(tmp_path / "out" / "masks", data)
    a, b, c = result["cases"]
    assert a["surface_dice"] == c["surface_dice"] == a["cldice"] == 0.0
    assert b["surface_dice"] is None
    assert b["cldice"] is None
    assert b["betti0_error"] == 0
    assert result["surface_dice"] == 0.0  # of the two where it is defined
    notes = text_table(result)
    assert "surface Dice is undefined in 1 of 3" in notes
    assert "in 1 of 3 nothing was predicted" in notes
    assert "in 1 of 3 nothing is true" in notes


def test_images_have_no_scores_of_volumes(data, tmp_path):
    from malpighi.metrics.report import text_table

    _png(tmp_path / "out/a.png", _square(15, 10))
    result = evaluate(tmp_path / "out", data)
    assert not {"surface_dice", "nsd", "cldice", "betti0_error", "nsd_tolerance"} & {*result, *result["cases"][0]}
    assert "NSD" not in text_table(result)


def test_unlabelled_voxels_count_for_no_score_of_volumes(tmp_path):
    """What is predicted where nobody looked changes nothing, nor does the edge between."""
    from malpighi.geometry import Box, Space, Spacing
    from malpighi.tasks.volumes import volume_scores

    truth = _tube().astype(np.uint8)
    truth[:, :, 20:] = 255
    rng = np.random.default_rng(0)
    prediction = _tube()
    prediction[:, :, 20:] = rng.random((12, 16, 20)) > 0.5
    space = Space.of_shape(truth.shape, Spacing.um((2, 1, 1)))

    def read(array):
        def box_of(box: Box) -> np.ndarray:
            return array[box.slices]

        return box_of

    assert volume_scores(read(prediction), read(truth), space) == {
        "surface_dice": 1.0,
        "nsd": 1.0,
        "cldice": 1.0,
        "betti0_error": 0.0,
    }


def test_the_page_of_volumes_shows_slices_and_scores(tmp_path):
    data = _volumes(tmp_path / "data", a=_tube())
    _volumes(tmp_path / "out", a=_tube(start=5))
    evaluate(tmp_path / "out" / "masks", data, report=tmp_path / "scores.html")
    page = (tmp_path / "scores.html").read_text()
    assert "surface Dice" in page
    assert "clDice" in page
    assert "data:image/png" in page


@pytest.mark.real_data
def test_real_volumes_against_shifted_and_eroded_ones(real, tmp_path):
    """A shift keeps what is connected; an erosion loses more surface; box by box as in one piece."""
    import tifffile
    from scipy import ndimage

    from malpighi.metrics.surface import surface_overlap

    truth = tifffile.imread(real / "vessel_volumes/masks/burgess2014_bbbDisruption.tif")[:, 100:260, 100:260] > 0
    data = _volumes(tmp_path / "data", a=truth, b=truth)
    _volumes(tmp_path / "out", a=np.roll(truth, 1, 2), b=ndimage.binary_erosion(truth, np.ones((1, 3, 3))))
    result = evaluate(tmp_path / "out" / "masks", data, objects=False, tolerance="1.5")
    shifted, eroded = result["cases"]
    for case, prediction in ((shifted, np.roll(truth, 1, 2)), (eroded, ndimage.binary_erosion(truth, np.ones((1, 3, 3))))):
        for name, tolerance in (("surface_dice", 0), ("nsd", 1.5)):
            assert case[name] == pytest.approx(surface_overlap(prediction, truth, (2, 1, 1), tolerance).dice)
    assert shifted["betti0_error"] <= 1
    assert eroded["surface_dice"] < shifted["surface_dice"] < shifted["nsd"]
    assert eroded["surface_dice"] < eroded["nsd"]


@pytest.mark.parametrize("shape", [(1, 16, 40), (12, 16, 40)])
def test_volumes_of_one_slice_and_masks_up_to_the_border(shape):
    from malpighi.geometry import Space, Spacing
    from malpighi.tasks.volumes import volume_scores

    full = np.ones(shape, np.uint8)
    half = full.copy()
    half[..., 20:] = 0
    space = Space.of_shape(shape, Spacing.um((2, 1, 1)))
    perfect = volume_scores(lambda box: full[box.slices], lambda box: full[box.slices], space)
    assert perfect == {"surface_dice": 1.0, "nsd": 1.0, "cldice": 1.0, "betti0_error": 0.0}
    cut = volume_scores(lambda box: half[box.slices], lambda box: full[box.slices], space)
    assert 0 < cut["surface_dice"] <= cut["nsd"] < 1
    assert cut["betti0_error"] == 0
