"""`pseudo`: sparse labels and a prediction in, a dense OME-Zarr out."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from malpighi.annotations.open import open_annotation
from malpighi.cli import main
from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Space, Spacing
from malpighi.inference.store import PredictionStore
from malpighi.tasks.pseudo import pseudo


def predicted(path, probability, keep=True, spacing=None, image_shape=None):
    """A finished prediction folder of one class, as `segment` writes it, of an image of voxels of one pixel."""
    shape = probability.shape
    one = Spacing.pixels(len(shape))
    spacing = spacing or one
    image = {"path": "volume", "shape": list(image_shape or shape), "spacing": {"values": list(one.values), "unit": one.unit}}
    with PredictionStore(
        path, shape, spacing, ("vessel",), (0.5,), probabilities=keep, fingerprint={"image": image, "run": "run7"}
    ) as store:
        for box in Box.of_shape(shape).split(store.align):
            store.add(box, probability[box.slices][None].astype(np.float32))
        store.finish()
    return path


def example(shape, seed=0):
    """Truth, the sparse part of it, and probabilities that tell the truth but for noise."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, bool)
    truth[..., 4:12, 5:-5] = True
    sparse = truth & (np.arange(shape[-1]) < shape[-1] * 0.6)
    return truth, sparse, np.clip(0.2 + 0.6 * truth + rng.normal(0, 0.08, shape), 0, 1)


@pytest.mark.parametrize("shape", [(40, 50), (20, 30, 40)])
def test_the_mask_holds_what_is_annotated_and_what_is_missing(tmp_path, shape):
    truth, sparse, probability = example(shape)
    tifffile.imwrite(tmp_path / "labels.tif", sparse.astype(np.uint8), photometric="minisblack")
    folder = predicted(tmp_path / "out", probability)
    rate = sparse.sum() / truth.sum()
    told = pseudo(folder, tmp_path / "labels.tif", rate, tmp_path / "dense.ome.zarr")
    annotation = open_annotation(tmp_path / "dense.ome.zarr", Space.of_shape(shape))
    dense = annotation.rasterise(Box.of_shape(shape))[0].astype(bool)
    assert annotation.classes == ("vessel",) or len(annotation.classes) == 1
    assert dense[sparse].all()
    assert dense.sum() == told["dense"] == told["annotated"] + told["added"]
    assert told["annotated"] == sparse.sum()
    assert told["rate"] == pytest.approx(rate, abs=0.02)
    assert (dense == truth).mean() > 0.97
    kept = zarr.open_group(tmp_path / "dense.ome.zarr", mode="r").attrs["malpighi"]["pseudo"]
    assert kept["run"] == "run7"
    assert kept["asked"] == rate
    assert kept["threshold"] == told["threshold"]


def test_at_the_image_border_the_prediction_counts_as_elsewhere(tmp_path):
    """Probabilities lie at the network's spacing: what is beyond the last of them must not pull the border down."""
    probability, sparse = np.zeros((32, 32)), np.zeros((64, 64), np.uint8)
    probability[:, :8], probability[:, 12:20], probability[:, 24:] = 0.8, 0.7, 0.8
    sparse[:, :16] = 1  # as much is missing at the right border
    tifffile.imwrite(tmp_path / "labels.tif", sparse)
    folder = predicted(tmp_path / "out", probability, spacing=Spacing.pixels(2, 2.0), image_shape=(64, 64))
    pseudo(folder, tmp_path / "labels.tif", 0.5, tmp_path / "dense.ome.zarr")
    dense = open_annotation(tmp_path / "dense.ome.zarr", Space.of_shape((64, 64))).rasterise(Box.of_shape((64, 64)))[0]
    assert dense[:, 49:].all()
    assert not dense[:, 16:48].any()


def test_without_probabilities_it_says_what_to_do(tmp_path):
    _, sparse, probability = example((40, 50))
    tifffile.imwrite(tmp_path / "labels.tif", sparse.astype(np.uint8))
    with pytest.raises(DataError, match="segment again with --probabilities"):
        pseudo(predicted(tmp_path / "out", probability, keep=False), tmp_path / "labels.tif", 0.6, tmp_path / "dense.zarr")


def test_what_cannot_be_met_leaves_nothing_behind(tmp_path):
    _, sparse, probability = example((40, 50))
    tifffile.imwrite(tmp_path / "labels.tif", sparse.astype(np.uint8))
    folder = predicted(tmp_path / "out", probability)
    with pytest.raises(DataError, match="cannot be met"):
        pseudo(folder, tmp_path / "labels.tif", 0.001, tmp_path / "dense.zarr")
    with pytest.raises(DataError, match="does not predict 'vein'"):
        pseudo(folder, tmp_path / "labels.tif", 0.6, tmp_path / "dense.zarr", label="vein")
    with pytest.raises(OutputError, match=r"\.ome\.zarr"):
        pseudo(folder, tmp_path / "labels.tif", 0.6, tmp_path / "dense.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.tif", "out"]


def test_labels_of_another_image_are_refused(tmp_path):
    _, _, probability = example((40, 50))
    tifffile.imwrite(tmp_path / "labels.tif", np.ones((33, 50), np.uint8))
    with pytest.raises(DataError, match="33 × 50"):
        pseudo(predicted(tmp_path / "out", probability), tmp_path / "labels.tif", 0.6, tmp_path / "dense.zarr")


def test_the_command_prints_one_json_object_and_does_not_overwrite(tmp_path):
    truth, sparse, probability = example((40, 50))
    tifffile.imwrite(tmp_path / "labels.tif", sparse.astype(np.uint8))
    folder = predicted(tmp_path / "out", probability)
    main.register()
    asked = ["pseudo", str(folder), str(tmp_path / "labels.tif"), "--rate", str(sparse.sum() / truth.sum())]
    asked += ["-o", str(tmp_path / "dense.ome.zarr"), "--json"]
    first = CliRunner().invoke(main.app, asked)
    assert first.exit_code == 0
    assert json.loads(first.stdout.splitlines()[-1])["annotated"] == sparse.sum()
    assert CliRunner().invoke(main.app, asked).exit_code == 4
    assert CliRunner().invoke(main.app, [*asked, "--overwrite"]).exit_code == 0
