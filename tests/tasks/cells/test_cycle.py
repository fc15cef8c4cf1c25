"""The whole cycle on a few phantoms: stages leave their files, the same call goes on, and the run labels cells of new images."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from malpighi.annotations.hpa import hpa_row
from malpighi.annotations.hpa_table import stream_hpa
from malpighi.errors import DataError, OutputError, RecipeError
from malpighi.phantoms.cells import CHANNELS, write_dataset
from malpighi.sampling.pseudo_cells import PseudoLabels
from malpighi.tasks.cells.cycle import cycle
from malpighi.tasks.cells.predict import read_labels, segment_cells
from malpighi.tasks.cells.table import read_cell_scores

CLASSES = ("Nucleoplasm", "Cytosol")
TINY = [
    f"data.classes={list(CLASSES)}",
    "data.side=64",
    "data.crop=32",
    "cells.nucleus_area=60",
    "cells.cell_area=120",
    "cells.scale=1.0",
    "image.model.stride=32",
    "cell.model.stride=32",
    "image.model.encoder=resnet10t",
    "cell.model.encoder=resnet10t",
    "image.train.steps=12",
    "image.train.validate_every=12",
    "image.train.precision=float32",
    "cell.train.precision=float32",
    "cell.train.steps=12",
    "cell.train.validate_every=12",
    "cell.train.batch=8",
    "pseudo.threshold=0.3",
    "pseudo.none=0.1",
    "cycle.gain=-1.0",
]


@pytest.fixture(scope="module")
def dishes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dishes")
    return write_dataset(folder, 12, seed=5, shape=(160, 160), classes=CLASSES, diameter=48.0)


@pytest.fixture(scope="module")
def run(dishes, tmp_path_factory):
    out = tmp_path_factory.mktemp("cycle") / "run"
    return cycle(dishes, "demo-cells", out, overrides=TINY), out


def _image(dishes, number):
    return dishes / "train" / f"cells_5_{number:04d}_{{{','.join(CHANNELS)}}}.png"


def test_every_stage_leaves_what_the_next_one_takes(run):
    told, out = run
    assert told["cycles"] == 2
    assert told["images"] == 12
    for name in (
        "recipe.toml",
        "image/weights.safetensors",
        "map-scores.npy",
        "cycle-2/cell/weights.safetensors",
        "report.html",
    ):
        assert (out / name).is_file(), name
    labels = PseudoLabels.read(out / "cycle-1" / "pseudo.parquet")
    assert labels.counts()["Nucleoplasm"] + labels.counts()["Cytosol"] > 0


def test_nothing_is_learnt_of_cells_that_are_held_out(run):
    _, out = run
    held = set(json.loads((out / "fold.json").read_text())["held_out"])
    for number in (1, 2):
        rows = pq.read_table(out / f"cycle-{number}" / "pseudo.parquet").to_pylist()
        assert held <= {row["image"] for row in rows}
        assert {row["label"] for row in rows if row["image"] in held} == {""}


def test_a_cell_has_no_label_that_its_image_has_not(run):
    _, out = run
    for row in pq.read_table(out / "cycle-2" / "pseudo.parquet").to_pylist():
        assert row["label"] in {"", "none of these", *(row["image_labels"] or ())}


def test_the_same_call_goes_on_and_makes_the_same(run, dishes, tmp_path):
    told, out = run
    again = tmp_path / "run"
    shutil.copytree(out, again)
    shutil.rmtree(again / "cycle-2")
    for name in ("summary.json", "best.json", "map-scores.npy"):
        (again / name).unlink()
    resumed = cycle(dishes, "demo-cells", again, overrides=TINY)
    assert resumed["image_map"] == told["image_map"]
    for name in ("map-scores.npy", "cycle-2/cell-scores.npy"):
        np.testing.assert_array_equal(np.load(again / name), np.load(out / name))


def test_a_finished_run_is_left_alone_and_another_recipe_is_refused(run, dishes):
    told, out = run
    assert cycle(dishes, "demo-cells", out, overrides=TINY) == told
    with pytest.raises(OutputError, match="another recipe"):
        cycle(dishes, "demo-cells", out, overrides=[*TINY, "pseudo.threshold=0.4"])


def test_cells_of_new_images_are_labelled(run, dishes, tmp_path):
    _, out = run
    images = [_image(dishes, 0), _image(dishes, 1)]
    told = segment_cells(images, out, tmp_path / "out")
    assert told["cells"] == sum(len(np.unique(read_labels(tmp_path / "out" / f"cells_5_{n:04d}"))) - 1 for n in (0, 1))
    folder = tmp_path / "out" / "cells_5_0000"
    table = pq.read_table(folder / "cells.parquet")
    labels, nuclei = read_labels(folder), read_labels(folder, "nuclei")
    assert table.num_rows == labels.max()
    assert (labels[nuclei > 0] == nuclei[nuclei > 0]).all()
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], table["area"].to_numpy())
    assert set(table["class"].to_pylist()) <= {"", *CLASSES}
    submitted = hpa_row(tmp_path / "out" / "submission.csv", "cells_5_0000").cells
    scores = read_cell_scores(folder, CLASSES)["scores fused"]
    assert len(submitted) == int((scores > 0.001).sum())
    assert segment_cells(images, out, tmp_path / "out") == told
    assert not (tmp_path / "out" / "unfinished").exists()


def test_large_images_get_levels_and_keep_their_pixel_size(run, tmp_path):
    import zarr

    from malpighi.phantoms.cells import CellPhantom

    _, out = run
    path = CellPhantom((700, 640), seed=3, classes=CLASSES, diameter=90.0).write(tmp_path, "large")
    segment_cells([tmp_path / path.rpartition("/")[2]], out, tmp_path / "out", spacing=0.25)
    labels = zarr.open_group(tmp_path / "out" / "large" / "labels.ome.zarr" / "labels" / "cells", mode="r")
    levels = labels.attrs["ome"]["multiscales"][0]["datasets"]
    assert [level["coordinateTransformations"][0]["scale"] for level in levels] == [[0.25, 0.25], [0.5, 0.5]]


def test_a_prediction_becomes_anndata_and_coco(run, dishes, tmp_path):
    import anndata
    from pycocotools.coco import COCO

    from malpighi.tasks.convert import convert
    from malpighi.tasks.convert_asked import Conversion

    _, out = run
    told = segment_cells([_image(dishes, 0), _image(dishes, 1)], out, tmp_path / "out")
    convert(Conversion(tmp_path / "out", tmp_path / "cells.h5ad"))
    table = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert table.n_obs == told["cells"]
    assert set(table.obs["image"]) == {"cells_5_0000", "cells_5_0001"}
    assert "green_nucleus_mean" in table.var_names
    assert not any("score" in name for name in table.var_names)
    convert(Conversion(tmp_path / "out" / "submission.csv", tmp_path / "cells.coco.json"))
    coco = COCO(str(tmp_path / "cells.coco.json"))
    assert len(coco.anns) == sum(len(row.cells) for row in stream_hpa(tmp_path / "out" / "submission.csv"))


def test_the_weights_of_the_rule_can_be_set(run, dishes, tmp_path):
    _, out = run
    segment_cells([_image(dishes, 0)], out, tmp_path / "out", overrides=["fuse.image=1.0", "fuse.negative="])
    scores = read_cell_scores(tmp_path / "out" / "cells_5_0000", CLASSES)
    np.testing.assert_allclose(scores["scores fused"], scores["scores image"], rtol=1e-5)
    with pytest.raises(RecipeError, match="only fuse"):
        segment_cells([_image(dishes, 0)], out, tmp_path / "other", overrides=["data.side=32"])


def test_a_channel_that_is_missing_is_named(run, dishes, tmp_path):
    _, out = run
    for name in CHANNELS[:3]:
        shutil.copy(dishes / "train" / f"cells_5_0000_{name}.png", tmp_path)
    with pytest.raises(DataError, match="yellow"):
        segment_cells([tmp_path / "cells_5_0000_{red,green,blue}.png"], out, tmp_path / "out")


def test_a_folder_of_channel_files_is_a_folder_of_images(run, dishes, tmp_path):
    _, out = run
    for name in CHANNELS:
        shutil.copy(dishes / "train" / f"cells_5_0003_{name}.png", tmp_path)
    told = segment_cells([tmp_path], out, tmp_path / "out")
    assert [path.rpartition("/")[2] for path in told["outputs"]] == ["cells_5_0003"]


def test_images_without_labels_are_no_data_set(dishes, tmp_path):
    shutil.copytree(dishes / "train", tmp_path / "images")
    with pytest.raises(DataError, match="image labels"):
        cycle(tmp_path / "images", "demo-cells", tmp_path / "run", overrides=TINY)
