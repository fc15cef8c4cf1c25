"""One image segmented with the options that images have: masks, table, outlines and manifest agree; validation judges the same."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import zarr
from scipy import ndimage

from malpighi.annotations.base import Annotation
from malpighi.annotations.geojson import read_geojson
from malpighi.errors import OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.inference.options import PredictOptions
from malpighi.metrics.overlap import count
from malpighi.objects.instances import InstanceOptions
from malpighi.objects.measure import ObjectOptions
from malpighi.recipes.recipe import Recipe
from malpighi.sampling.cases import Case, OpenCase, open_case
from malpighi.sampling.intensity import Intensity
from malpighi.sampling.layouts import find_cases
from malpighi.tasks import validation
from malpighi.tasks.ftu import ftu_task
from malpighi.tasks.image import forward_of
from malpighi.tasks.run import Inputs, TrainedRun
from malpighi.tasks.segment import Model, segment_image
from malpighi.tasks.validation import Validator

SHAPE, SPACING = (120, 160), Spacing.um(1.0)


def as_probability(tiles: np.ndarray) -> np.ndarray:
    return tiles.astype(np.float32) / np.float32(255)


def model(classes=("gland",), objects=None, **predict) -> Model:
    inputs = Inputs(classes, len(classes), SPACING, Intensity((0.0,) * len(classes), (1.0,) * len(classes)), "uint8")
    options = PredictOptions(**{"tile": 64, "overlap": 0.5, "window": "center", "skip_blank": False, **predict})
    run = TrainedRun("run", Recipe(), inputs)
    return Model(run, as_probability, options, objects or ObjectOptions(), InstanceOptions(), "cpu", "abc", (1, 1))


def cloudy(classes=1, shape=SHAPE, seed=0) -> ArraySource:
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    noise = ndimage.gaussian_filter(noise, (0, 2, 2)) + 0.5 * ndimage.gaussian_filter(noise, (0, 5, 5))
    return ArraySource(np.rint(255 / (1 + np.exp(-14 * noise))).astype(np.uint8), SPACING)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "image").write_text("")
    return tmp_path / "image"


def mask_of(folder) -> np.ndarray:
    """(class, y, x) at the spacing at which the image was worked."""
    labels = zarr.open_group(folder / "labels.ome.zarr", mode="r")["labels"]
    return np.stack([labels[name]["0"][:] for name in json.loads((folder / "manifest.json").read_text())["classes"]])


ALL = ObjectOptions(fill_holes=30, otsu=60, energy=1.2, min_area=20, simplify=0)


def test_masks_table_and_outlines_show_the_same_objects(tmp_path, path):
    facts = segment_image(model(objects=ALL), cloudy(), path, tmp_path / "out", report=False)
    mask = mask_of(tmp_path / "out")[0]
    plain = segment_image(model(), cloudy(), path, tmp_path / "plain", report=False)
    assert facts["objects"]["gland"] < plain["objects"]["gland"]
    rows = pq.read_table(tmp_path / "out/objects.parquet").to_pylist()
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    assert len(rows) == n == facts["objects"]["gland"]
    assert sorted(row["voxels"] for row in rows) == sorted(np.bincount(labels.ravel())[1:].tolist())
    assert min(row["energy"] for row in rows) >= 1.2
    shapes = {shape.id: shape for shape in read_geojson(tmp_path / "out/objects.geojson.gz")}
    drawn = np.zeros(SHAPE, bool)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    for row in rows:
        shape = shapes[row["shape_id"]]
        assert shape.geometry.area == row["area_um2"] == row["voxels"]
        assert shape.measurements["Energy"] == pytest.approx(row["energy"])
        drawn |= shapely.contains_xy(shape.geometry, x, y)
    np.testing.assert_array_equal(drawn, mask == 1)
    assert sum(row["mean_probability"] * row["voxels"] for row in rows) == pytest.approx(
        as_probability(cloudy().read(Box.of_shape(SHAPE))[0])[mask == 1].sum(), rel=1e-6
    )


def test_whether_probabilities_are_kept_changes_nothing_else(tmp_path, path):
    for keep in (False, True):
        segment_image(model(objects=ALL, probabilities=keep), cloudy(), path, tmp_path / str(keep), report=False)
    one, other = (pq.read_table(tmp_path / name / "objects.parquet") for name in ("False", "True"))
    assert one.equals(other)
    np.testing.assert_array_equal(mask_of(tmp_path / "False"), mask_of(tmp_path / "True"))
    assert not list((tmp_path / "False").glob("unfinished*"))


def test_an_image_has_a_spacing_of_its_own_and_everything_after_it_too(tmp_path, path):
    source = cloudy(shape=(100, 250))
    segment_image(model(across=2, overlap=0.0), source, path, tmp_path / "out", report=True)  # 250 / 128: reduced by 2
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["spacing"] == {"values": [2.0, 2.0], "unit": "µm"}
    assert manifest["shape"] == [50, 125]
    halved = source.read_at(Box.of_shape((50, 125)), Spacing.um(2.0))[0]
    np.testing.assert_array_equal(mask_of(tmp_path / "out")[0], halved >= 128)
    rows = pq.read_table(tmp_path / "out/objects.parquet").to_pylist()
    assert all(row["area_um2"] == 4 * row["voxels"] for row in rows)
    assert max(row["x_max"] for row in rows) > 125  # level-0 pixels
    small = cloudy(shape=(60, 100))
    segment_image(model(across=2), small, path, tmp_path / "small", report=False)
    assert json.loads((tmp_path / "small/manifest.json").read_text())["spacing"]["values"] == [1.0, 1.0]
    with pytest.raises(OutputError, match="another"):  # another reduction is another result
        segment_image(model(across=1), source, path, tmp_path / "out", report=False)


def test_other_thresholds_are_another_prediction(tmp_path, path):
    facts = segment_image(model(thresholds=(0.7,)), cloudy(), path, tmp_path / "out", report=False)
    assert facts["thresholds"]["gland"] == pytest.approx(0.7)
    np.testing.assert_array_equal(
        mask_of(tmp_path / "out")[0], as_probability(cloudy().read(Box.of_shape(SHAPE))[0]) >= np.float32(0.7)
    )
    with pytest.raises(OutputError, match="another threshold of gland"):
        segment_image(model(), cloudy(), path, tmp_path / "out", report=False)


def test_one_class_an_image(tmp_path, path):
    source = cloudy(classes=2)
    mask = source.read(Box.of_shape(SHAPE)) >= 128
    most = int(mask.sum((1, 2)).argmax())
    facts = segment_image(model(("a", "b"), one_class=True), source, path, tmp_path / "out", report=False)
    found = mask_of(tmp_path / "out")
    np.testing.assert_array_equal(found[most], mask[most])
    assert not found[1 - most].any()
    assert list(facts["objects"].values())[1 - most] == 0


def test_a_prediction_from_before_these_options_stands_and_one_with_others_is_another(tmp_path, path):
    segment_image(model(), cloudy(), path, tmp_path / "out", report=False)
    said = json.loads((tmp_path / "out/manifest.json").read_text())["options"]
    assert not {"predict.gate", "predict.across", "predict.one_class", "objects.otsu", "objects.energy"} & said.keys()
    assert segment_image(model(), cloudy(), path, tmp_path / "out", report=False)["objects"]
    for changed in (model(gate=0.5), model(one_class=True), model(objects=ObjectOptions(otsu=9.0))):
        with pytest.raises(OutputError, match="another"):
            segment_image(changed, cloudy(), path, tmp_path / "out", report=False)


@pytest.mark.parametrize(
    "predict",
    [{}, {"top": 20.0}, {"one_class": True}, {"across": 1, "overlap": 0.0}, {"thresholds": (0.3, 0.6)}],
    ids=["objects", "top", "one_class", "across", "thresholds"],
)
def test_validation_judges_what_segment_writes(tmp_path, path, monkeypatch, predict):
    opened, source = model(("a", "b"), ALL, **predict), cloudy(classes=2)
    segment_image(opened, source, path, tmp_path / "out", report=False)
    truth = cloudy(classes=2, seed=5).read(Box.of_shape(SHAPE)) >= 128
    labels = Layers(truth)
    recipe = replace(Recipe(), predict=opened.predict)
    monkeypatch.setattr(validation, "forward_of", lambda *_: as_probability)
    judge = Validator(
        [OpenCase(Case("c", path), source, labels)], opened.run.inputs, ftu_task(recipe, 2), opened.predict, "cpu", recipe.train,
        objects=ALL,
    )  # fmt: skip
    found = judge.quick(Strides())
    spacing = opened.run.inputs.at(source, opened.predict).spacing
    whole = Box.of_shape(source.space.shape_at(spacing))
    wanted = count(mask_of(tmp_path / "out"), labels.rasterise(whole, spacing)).dice
    assert list(found["by_class"].values()) == pytest.approx(wanted.tolist(), nan_ok=True)
    assert 0.1 < found["score"] < 0.9


class Layers(Annotation):
    """Masks held in memory, drawn as `Prediction` does."""

    def __init__(self, layers: np.ndarray, spacing: Spacing = SPACING) -> None:
        self.image = ArraySource(layers.astype(np.uint8), spacing)
        super().__init__("layers", self.image.space, tuple(f"class {k}" for k in range(len(layers))))

    def _rasterise(self, box: Box, spacing: Spacing) -> np.ndarray:
        return self.image.read_at(box, spacing, pad=0, method="nearest")


class Strides:
    """A network of which nothing is asked but its stride."""

    stride = (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_small_network_on_a_real_image_through_every_option(tmp_path, real, exclusive):
    torch = pytest.importorskip("torch")
    from malpighi.models.build import ModelOptions, build_network

    torch.manual_seed(0)
    options = ModelOptions(
        architecture="unet", encoder="resnet18", pretrained="never", decoder_channels=(16, 8, 8, 8, 8), tile_class=True,
        exclusive=exclusive,
    )  # fmt: skip
    network = build_network(options, 3, 2)
    table = find_cases(real / "colon_glands")
    predict = PredictOptions(tile=128, overlap=0.5, window="center", flips="flips", gate=0.3, across=2, thresholds=(0.25, 0.35))
    tidy = ObjectOptions(fill_holes=400, otsu=900, energy=0.3, temperature=1.5, min_area=64)
    with open_case(table.cases[0], table.classes) as opened:
        space = opened.source.space
        inputs = Inputs(
            ("gland", "other"),
            3,
            Spacing(space.spacing.values, space.spacing.unit),
            Intensity((0.0,) * 3, (255.0,) * 3),
            "uint8",
        )
        forward = forward_of(network, inputs, predict, "cpu", "float32", False)
        run = Model(
            TrainedRun("run", Recipe(model=options), inputs), forward, predict, tidy, InstanceOptions(), "cpu", "abc", (32, 32)
        )
        image = table.cases[0].image
        facts = segment_image(
            replace(run, predict=replace(predict, one_class=True)), opened.source, image, tmp_path / "one", report=False
        )
        both = segment_image(run, opened.source, image, tmp_path / "both", report=False)
        recipe, truth = (
            Recipe(model=options, predict=predict),
            Layers(np.indices((2, *space.shape)).sum(0) // 40 % 2, space.spacing),
        )
        judge = Validator(
            [replace(opened, annotation=truth)], inputs, ftu_task(recipe, 2), predict, "cpu",
            recipe.train, objects=tidy,
        )  # fmt: skip
        score = judge.quick(network)
        spacing = inputs.at(opened.source, predict).spacing
    shape = space.shape_at(spacing)
    assert max(shape) <= 256 < max(space.shape)
    found, alone = mask_of(tmp_path / "both"), mask_of(tmp_path / "one")
    assert found.shape[1:] == shape
    assert found.any()
    wanted = count(found, truth.rasterise(Box.of_shape(shape), spacing))
    assert (alone.reshape(2, -1).any(1)).sum() == 1
    rows = pq.read_table(tmp_path / "both/objects.parquet").to_pylist()
    assert len(rows) == sum(both["objects"].values())
    assert sum(row["voxels"] for row in rows) == found.sum()
    assert sum(facts["objects"].values()) <= len(rows)
    assert list(score["by_class"].values()) == pytest.approx(wanted.dice.tolist())
