"""Networks that tell objects apart, from layers to label image, tables and scores; the network's part is played by the image."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from malpighi.annotations.geojson import read_geojson
from malpighi.errors import OutputError, RecipeError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.images.open import open_image
from malpighi.recipes.load import build, read_raw
from malpighi.sampling.instance_targets import instance_targets
from malpighi.sampling.intensity import Intensity
from malpighi.tasks import after
from malpighi.tasks import segment as segmenting
from malpighi.tasks.evaluate import evaluate
from malpighi.tasks.image import prepare_source
from malpighi.tasks.instances import require_instances
from malpighi.tasks.prediction import Prediction
from malpighi.tasks.run import Inputs, TrainedRun

PIXELS = Spacing.pixels(2)


def _truth():
    """Squares of 9 in pairs that touch, one beside the image's border, one of 2 × 2."""
    labels = np.zeros((96, 128), np.uint16)
    for number, (y, x) in enumerate([(10, 10), (10, 19), (40, 60), (49, 60), (87, 119), (70, 20)], 1):
        labels[y : y + 9, x : x + 9] = number
    labels[30:32, 100:102] = 900
    return labels


def _recipe(*overrides):
    return build(read_raw("nuclei", ("intensity.per=dataset", "predict.tile=64", "objects.min_area=9", *overrides)))


class _Network:
    """Gives back the image's channels as its layers, and counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, tiles):
        self.asked += 1
        return tiles.astype(np.float32) / 255


@pytest.fixture
def network():
    return _Network()


@pytest.fixture
def model(tmp_path, network):
    recipe = _recipe()
    inputs = Inputs(("nucleus",), 2, PIXELS, Intensity.identity(2), "uint8", recipe.instances.layers)
    run = TrainedRun(tmp_path / "run", recipe, inputs)
    return segmenting.Model(run, network, recipe.predict, recipe.objects, recipe.instances, "cpu", "0", (32, 32))


@pytest.fixture
def image(tmp_path):
    """A TIFF whose two channels are the layers of the truth."""
    layers = instance_targets(_truth().astype(np.int32)[None], "distance")[0]
    tifffile.imwrite(
        tmp_path / "a.tif", np.rint(layers * 255).astype(np.uint8), photometric="minisblack", planarconfig="separate"
    )
    return tmp_path / "a.tif"


def _segment(model, image, folder, **more):
    with open_image(image) as source:
        return segmenting.segment_image(model, source, image, folder, report=False, **more)


def _same(found, truth):
    """Whether two label images show the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1)
    return len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1]))


def test_touching_objects_stay_apart_in_labels_outlines_and_table(model, image, tmp_path):
    result = _segment(model, image, tmp_path / "out")
    assert result["objects"] == {"nucleus": 6}
    wanted = np.where(_truth() == 900, 0, _truth())  # smaller than objects.min_area
    prediction = Prediction(tmp_path / "out")
    whole = Box.of_shape(wanted.shape)
    assert prediction.has_objects
    found = prediction.instances(whole)
    assert sorted(np.unique(found)) == list(range(7))
    assert _same(found, wanted)
    np.testing.assert_array_equal(prediction.rasterise(whole)[0], wanted > 0)
    assert prediction._masks[0].dtype == np.uint32
    prediction.close()
    rows = pq.read_table(tmp_path / "out" / "objects.parquet").to_pylist()
    assert [row["voxels"] for row in rows] == [81] * 6
    assert min(row["mean_probability"] for row in rows) == 1
    assert len(list(read_geojson(tmp_path / "out" / "objects.geojson.gz").shapes)) == 6
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["instances"] is True
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "labels.ome.zarr", "objects.parquet", "objects.geojson.gz", "manifest.json",
    }  # fmt: skip


def test_finished_stays_and_other_options_are_refused(model, image, tmp_path, network):
    _segment(model, image, tmp_path / "out")
    asked = network.asked
    _segment(model, image, tmp_path / "out")
    assert network.asked == asked
    other = replace(model, instances=replace(model.instances, seed=0.3))
    with pytest.raises(OutputError, match=r"instances\.seed"):
        _segment(other, image, tmp_path / "out")


def test_a_run_stopped_among_the_objects_goes_on_without_the_network(model, image, tmp_path, network, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(after, "find_instances", stopped)
        with pytest.raises(KeyboardInterrupt):
            _segment(model, image, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    asked = network.asked
    _segment(model, image, tmp_path / "out")
    assert network.asked == asked
    _segment(model, image, tmp_path / "whole")
    one, other = (
        open_image(tmp_path / name / "labels.ome.zarr" / "labels" / "nucleus", spacing=PIXELS) for name in ("out", "whole")
    )
    np.testing.assert_array_equal(one.read(Box.of_shape(one.shape)), other.read(Box.of_shape(one.shape)))


def test_scores_of_instances(model, image, tmp_path):
    _segment(model, image, tmp_path / "out" / "a")
    truth = np.where(_truth() == 900, 0, _truth())
    truth[40:58, 60:69] = 77  # two of what was found are one
    (tmp_path / "truth").mkdir()
    tifffile.imwrite(tmp_path / "truth" / "a.tif", truth)
    found = evaluate(tmp_path / "out", tmp_path / "truth", classes=("nucleus",))
    assert found["dice"] == 1
    # 4 found, 2 made up (half the truth: IoU .5 is not more than .5), 1 missed
    assert found["ap50"] == pytest.approx(4 / 7)
    assert found["mean_precision"] == pytest.approx(4 / 7)
    assert found["pooled_mean_precision"] == pytest.approx(4 / 7)
    assert found["pq"] == pytest.approx(4 / (4 + 1.5))


def test_masks_have_no_scores_of_instances(tmp_path):
    for folder, values in (("a", 255), ("b", _truth())):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "x.tif", np.where(_truth() > 0, values, 0).astype(np.uint16))
    found = evaluate(tmp_path / "a", tmp_path / "b", classes=("nucleus",))
    assert found["objects"]["f1"] < 1
    assert not {"ap50", "mean_precision", "pq", "pooled_mean_precision"} & set(found)


@pytest.mark.parametrize(
    ("overrides", "classes", "said"),
    [
        ((), ("a", "b"), "one class"),
        (("instances.kind=flow", "predict.flips=flips"), ("a",), "mirrored"),
        (("predict.top=2",), ("a",), "predict.top"),
        (("model.slices_in=3",), ("a",), "2-D"),
    ],
)
def test_what_cannot_be_is_refused(overrides, classes, said):
    with pytest.raises(RecipeError, match=said):
        require_instances(_recipe(*overrides), classes)


def test_gray_is_three_equal_channels_to_a_network_of_three():
    values = np.random.default_rng(0).integers(0, 4000, (1, 20, 30)).astype(np.uint16)
    source = prepare_source(ArraySource(values), _recipe("intensity.per=image"), channels=3)
    read = source.read(Box((2, 3), (8, 8)))
    assert read.shape == (3, 8, 8)
    assert (read == read[:1]).all()
    assert 0 <= read.min() < read.max() <= 1
