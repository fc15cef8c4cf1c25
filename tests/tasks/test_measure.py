import json

import networkx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from typer.testing import CliRunner

from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box, Spacing
from malpighi.images.open import open_image
from malpighi.images.write import ZarrWriter
from malpighi.inference.folder import LABELS
from malpighi.inference.manifest import MANIFEST
from malpighi.tasks.measure import VesselOptions, measure_vessels
from objects.tubes import tube

SHAPE = (40, 60, 60)


@pytest.fixture(scope="module")
def forked() -> np.ndarray:
    lines = [[(20, 30, 5), (20, 30, 30)], [(20, 30, 30), (20, 48, 52)], [(20, 30, 30), (20, 10, 50)]]
    return tube(SHAPE, lines[0], 4) | tube(SHAPE, lines[1], 2.5) | tube(SHAPE, lines[2], 2.5)


@pytest.fixture
def mask(tmp_path, forked):
    path = tmp_path / "vessels.tif"
    tifffile.imwrite(path, forked.astype(np.uint8) * 255, photometric="minisblack", metadata={"axes": "ZYX"})
    return path


def test_everything_is_written_and_agrees(tmp_path, mask):
    out = tmp_path / "graph"
    told = measure_vessels(mask, out, spacing=Spacing.um(2, 3), options=VesselOptions(grid=40, keep_map=True))
    names = {path.name for path in out.iterdir()}
    tables = {f"{name}.parquet" for name in ("nodes", "branches", "points", "density")}
    assert names == tables | {"graph.graphml", "summary.json", "report.html", "distance.ome.zarr"}
    assert json.loads((out / "summary.json").read_text()) == told
    branches = pq.read_table(out / "branches.parquet")
    assert told["branches"] == branches.num_rows == 3
    assert told["total_length_um"] == pytest.approx(sum(branches.column("length_um").to_pylist()))
    assert told["total_length_um"] == pytest.approx(2 * (25 + np.hypot(18, 22) + np.hypot(20, 20)), rel=0.1)
    assert networkx.read_graphml(out / "graph.graphml").number_of_edges() == 3
    assert told["vessel_fraction"] == pytest.approx(told["vessel_voxels"] / np.prod(SHAPE))
    with open_image(out / "distance.ome.zarr") as distance:
        assert distance.shape == SHAPE
        assert distance.space.spacing == Spacing.um(2, 3)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "generation" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not list(tmp_path.glob(".*part"))


def test_objects_of_a_table_and_of_a_label_volume(tmp_path, mask):
    table = tmp_path / "glomeruli.parquet"
    pq.write_table(pa.table({"id": [7, 8], "z_um": [41.0, 41.0], "y_um": [61.0, 101.0], "x_um": [31.0, 31.0]}), table)
    measure_vessels(mask, tmp_path / "a", spacing=2.0, objects=table, options=VesselOptions(distances=False))
    rows = pq.read_table(tmp_path / "a" / "objects.parquet").to_pylist()
    assert [row["id"] for row in rows] == [7, 8]
    assert rows[0]["distance_um"] == 0
    assert rows[1]["distance_um"] == pytest.approx(40 - 8, abs=2.5)
    labels = np.zeros(SHAPE, np.uint16)
    labels[20, 48:53, 15], labels[2, 2, 2] = 3, 9
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack", metadata={"axes": "ZYX"})
    measure_vessels(mask, tmp_path / "b", spacing=2.0, objects=tmp_path / "labels.tif")
    rows = pq.read_table(tmp_path / "b" / "objects.parquet").to_pylist()
    assert [row["id"] for row in rows] == [3, 9]
    assert rows[0]["y_um"] == 101
    assert rows[0]["edge_distance_um"] == pytest.approx(rows[0]["distance_um"] - 4, abs=0.1)


def test_tissue_limits_what_counts(tmp_path, mask):
    tissue = np.zeros(SHAPE, np.uint8)
    tissue[:, :, :30] = 1
    tifffile.imwrite(tmp_path / "tissue.tif", tissue, photometric="minisblack", metadata={"axes": "ZYX"})
    told = measure_vessels(mask, tmp_path / "o", spacing=2.0, tissue=tmp_path / "tissue.tif")
    assert told["tissue_voxels"] == tissue.sum()
    assert told["length_density_mm_per_mm3"] == pytest.approx(50 / (tissue.sum() * 8) * 1e6, rel=0.1)
    assert told["distance_to_vessel"]["voxels"] == tissue.sum() - told["vessel_voxels"]


def test_a_flat_mask_is_measured_in_two_axes(tmp_path):
    mask = np.zeros((60, 90), np.uint8)
    mask[28:33, 10:80] = 255
    tifffile.imwrite(tmp_path / "flat.tif", mask)
    told = measure_vessels(tmp_path / "flat.tif", tmp_path / "o", spacing=Spacing.pixels(2))
    assert told["branches"] == 1
    assert told["total_length_px"] == pytest.approx(66, abs=3)
    assert "z_px" not in pq.read_table(tmp_path / "o" / "nodes.parquet").column_names
    assert "in voxels" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")


def test_bad_input_is_said_and_leaves_nothing(tmp_path, mask):
    empty, small = tmp_path / "empty.tif", tmp_path / "small.tif"
    tifffile.imwrite(empty, np.zeros(SHAPE, np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(small, np.ones((5, 6, 7), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match=r"empty\.tif: the mask is empty"):
        measure_vessels(empty, tmp_path / "o")
    with pytest.raises(DataError, match="a tissue mask of 5 × 6 × 7 for vessels of 40 × 60 × 60"):
        measure_vessels(mask, tmp_path / "o", tissue=small)
    with pytest.raises(DataError, match=r"none\.parquet: does not exist"):
        measure_vessels(mask, tmp_path / "o", objects=tmp_path / "none.parquet", options=VesselOptions(distances=False))
    assert not (tmp_path / "o").exists()
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="exists"):
        measure_vessels(mask, tmp_path / "o")
    with pytest.raises(OutputError, match="not a result"):
        measure_vessels(mask, tmp_path / "o", overwrite=True)


def test_the_command_says_what_it_measures(tmp_path, mask):
    from malpighi.cli.main import app, register

    register()
    run = CliRunner().invoke(app, ["measure", "-o", str(tmp_path / "o")])
    assert run.exit_code == 2
    assert "--vessels" in run.output
    run = CliRunner().invoke(
        app, ["measure", "--vessels", str(mask), "-o", str(tmp_path / "o"), "--spacing", "2,2,2", "--json"]
    )
    assert run.exit_code == 0
    assert json.loads(run.stdout.splitlines()[-1])["branches"] == 3


@pytest.mark.real_data
def test_real_two_photon_volume(tmp_path, real):
    told = measure_vessels(
        real / "vessel_volumes" / "masks" / "burgess2014_lowerRes_hiSNR.tif",
        tmp_path / "o",
        spacing=Spacing.um((5, 1, 1)),
        options=VesselOptions(distances=False),
    )
    assert told["branches"] > 20
    assert 0 < told["vessel_fraction"] < 0.5


def test_a_prediction_is_measured_on_its_own_grid(tmp_path, forked):
    folder = tmp_path / "kidney"
    folder.mkdir()
    own, image = {"values": [2.0, 2.0, 2.0], "unit": "µm"}, {"values": [1.0, 1.0, 1.0], "unit": "µm"}
    facts = {
        "image": {"path": "x", "shape": [2 * n for n in SHAPE], "spacing": image},
        "spacing": own,
        "classes": ["tissue", "vessel"],
    }
    for name, voxels in (("vessel", forked), ("tissue", np.ones_like(forked))):
        writer = ZarrWriter(folder / LABELS / "labels" / name, SHAPE, Spacing.um(2, 3), np.uint8, kind="labels")
        writer.write(Box.of_shape(SHAPE), voxels.astype(np.uint8))
        writer.finish()
    (folder / MANIFEST).write_text(json.dumps(facts))
    with pytest.raises(DataError, match="speaks of tissue, vessel; name one"):
        measure_vessels(folder, tmp_path / "o")
    told = measure_vessels(folder, tmp_path / "o", classes=["vessel"], options=VesselOptions(distances=False))
    assert (told["branches"], told["shape"], told["vessel_voxels"]) == (3, list(SHAPE), forked.sum())
