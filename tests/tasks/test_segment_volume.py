"""`segment` on volumes: from a file, through the engine, to masks, objects and a report."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.ndimage
import tifffile
import zarr

from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images import open_image
from malpighi.images.array import ArraySource
from malpighi.inference.options import PredictOptions
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.asked import find_images, stem
from malpighi.tasks.run import Inputs, TrainedRun
from malpighi.tasks.segment import Model, segment_image
from malpighi.tasks.within import hull_of

SHAPE, SPACING = (20, 40, 36), Spacing.um((4.0, 2.0, 2.0))


def as_probability(tiles):
    return tiles.astype(np.float32) / np.float32(65535)


def model(**predict) -> Model:
    inputs = Inputs(("vessel",), 1, SPACING, Intensity((0.0,), (1.0,)), "uint16")
    options = PredictOptions(**{"tile": 16, "overlap": 0.5, **predict})
    return Model(
        TrainedRun("run", Recipe(), inputs),
        as_probability,
        options,
        ObjectOptions(),
        InstanceOptions(),
        "cpu",
        "abc",
        (1, 1, 1),
    )


def balls() -> np.ndarray:
    """Three balls of 4, 3 and 1 voxels' radius, bright in the middle."""
    z, y, x = np.mgrid[tuple(slice(n) for n in SHAPE)]
    volume = np.zeros(SHAPE)
    for centre, radius in (((8, 10, 10), 4), ((12, 28, 24), 3), ((3, 33, 5), 1)):
        far = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
        volume = np.maximum(volume, np.clip(0.5 + (radius + 0.5 - far) / 4, 0, 1))
    return np.rint(volume * 65535).astype(np.uint16)


def source(volume=None) -> ArraySource:
    return ArraySource((balls() if volume is None else volume)[None], SPACING)


def mask_of(folder) -> np.ndarray:
    return np.asarray(zarr.open_group(folder / "labels.ome.zarr", mode="r")["labels/vessel/0"][:])


def test_masks_objects_and_report_of_a_volume(tmp_path):
    (tmp_path / "image").write_text("")
    facts = segment_image(model(), source(), tmp_path / "image", tmp_path / "out")
    expected = balls() >= 0.5 * 65535
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), expected)
    labels, count = scipy.ndimage.label(expected, np.ones((3, 3, 3)))
    rows = pq.read_table(tmp_path / "out/objects.parquet").to_pylist()
    assert facts["objects"] == {"vessel": count} == {"vessel": 3}
    assert sorted(row["voxels"] for row in rows) == sorted(np.bincount(labels.ravel())[1:].tolist())
    assert all(row["volume_um3"] == row["voxels"] * 16 for row in rows)
    with open_image(tmp_path / "out/labels.ome.zarr") as written:
        assert written.space.spacing == SPACING
    assert facts["outlines"] is None
    assert not (tmp_path / "out/objects.geojson.gz").exists()
    assert "volume" in (tmp_path / "out/report.html").read_text()


def test_small_components_are_dropped_by_volume(tmp_path):
    (tmp_path / "image").write_text("")
    tidy = replace(model(), objects=ObjectOptions(min_area=40 * 16.0))
    assert segment_image(tidy, source(), tmp_path / "image", tmp_path / "out")["objects"] == {"vessel": 2}
    expected = balls() >= 0.5 * 65535
    labels, _ = scipy.ndimage.label(expected, np.ones((3, 3, 3)))
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), expected & (np.bincount(labels.ravel())[labels] >= 40))


def test_the_top_per_cent_of_a_volume(tmp_path):
    (tmp_path / "image").write_text("")
    volume = np.random.default_rng(0).permutation(np.prod(SHAPE)).astype(np.uint16).reshape(SHAPE)
    found = segment_image(model(top=0.5, window="center"), source(volume), tmp_path / "image", tmp_path / "out")
    mask = mask_of(tmp_path / "out")
    wanted = round(volume.size * 0.005)
    assert mask.sum() == wanted
    assert volume[mask == 1].min() == volume.size - wanted
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["thresholds"] == found["thresholds"]
    assert found["thresholds"]["vessel"] == pytest.approx((volume.size - wanted) / 65535, abs=1e-6)


def test_within_the_hull_of_another_prediction(tmp_path):
    (tmp_path / "image").write_text("")
    volume = balls()
    other = volume.copy()
    other[:, 20:] = 0  # the earlier run saw the first ball alone
    segment_image(model(), source(other), tmp_path / "image", tmp_path / "earlier/image")
    bounds = hull_of(tmp_path / "earlier", "image", source(), margin=2.0)
    facts = segment_image(model(), source(), tmp_path / "image", tmp_path / "out", within=bounds)
    expected = volume >= 0.5 * 65535
    expected[:, 20:] = False
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), expected)
    assert facts["skipped_tiles"] > 0
    with pytest.raises(OutputError, match="another within"):  # another result, so not taken for this one
        segment_image(model(), source(), tmp_path / "image", tmp_path / "out")


def test_within_a_prediction_of_another_image_or_of_nothing(tmp_path):
    (tmp_path / "image").write_text("")
    segment_image(model(), source(np.zeros(SHAPE, np.uint16)), tmp_path / "image", tmp_path / "empty", report=False)
    with pytest.raises(DataError, match=r"empty: found nothing.*without --within"):
        hull_of(tmp_path / "empty", "image", source(), 0.0)
    with pytest.raises(DataError, match="give a prediction of the same image"):
        hull_of(tmp_path / "empty", "image", source(balls()[:9]), 0.0)


def test_stopped_and_resumed_ends_in_the_same_files(tmp_path, monkeypatch):
    from malpighi.inference import masks as module

    monkeypatch.setattr(module, "_SHARD", {3: ((4, 8, 8), (4, 16, 16))})
    (tmp_path / "image").write_text("")
    options = {"top": 3.0, "batch": 1}
    segment_image(model(**options), source(), tmp_path / "image", tmp_path / "whole", report=False)
    calls = 0

    def fails_later(tiles):
        nonlocal calls
        calls += 1
        if calls == 30:
            raise KeyboardInterrupt
        return as_probability(tiles)

    with pytest.raises(KeyboardInterrupt):
        segment_image(
            replace(model(**options), forward=fails_later), source(), tmp_path / "image", tmp_path / "parts", report=False
        )
    assert (tmp_path / "parts/unfinished.log").read_text()
    segment_image(model(**options), source(), tmp_path / "image", tmp_path / "parts", report=False)
    for path in (tmp_path / "whole").rglob("*"):
        if path.is_file() and path.name != "manifest.json":  # which tells the time it took
            assert path.read_bytes() == (tmp_path / "parts" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_a_folder_of_slices_is_one_volume_to_a_run_on_volumes(tmp_path):
    folder = tmp_path / "kidney_5.2um"
    folder.mkdir()
    for number, plane in enumerate(balls()):
        tifffile.imwrite(folder / f"{number:04d}.tif", plane)
    assert find_images([folder], rank=3) == [folder]
    assert len(find_images([folder], rank=2)) == SHAPE[0]
    assert stem(folder) == "kidney_5.2um"
    with open_image(folder, spacing=SPACING) as volume:
        segment_image(model(), volume, folder, tmp_path / "out")
    np.testing.assert_array_equal(mask_of(tmp_path / "out"), balls() >= 0.5 * 65535)


def test_a_folder_of_volumes_is_many(tmp_path):
    for name in ("b.tif", "a.tif"):
        tifffile.imwrite(tmp_path / name, balls(), photometric="minisblack", metadata={"axes": "ZYX"})
    assert [path.name for path in find_images([tmp_path], rank=3)] == ["a.tif", "b.tif"]
    assert Box.of_shape(open_image(tmp_path / "a.tif").shape) == Box.of_shape(SHAPE)
