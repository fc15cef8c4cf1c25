"""Everything that finds cells stands behind one contract."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from malpighi.errors import DataError, DependencyError
from malpighi.objects.cells import CellOptions, Cells, find_cells
from malpighi.objects.instances import InstanceOptions
from malpighi.recipes.cells import ChannelOptions
from malpighi.tasks.cells.segmenters import nuclei_by, pair_cells, segmenter

CHANNELS = ChannelOptions(names=("green", "blue", "red"), nucleus="blue", cell=("red",))


def image():
    """Two cells, channels green, blue, red."""
    y, x = np.mgrid[:80, :120]
    away = np.minimum(np.hypot(y - 40, x - 30), np.hypot(y - 40, x - 90))
    return np.stack([away * 0, np.where(away < 9, 200, 0), np.where(away < 20, 90, 0)]).astype(np.uint8)


def options(**more):
    return CellOptions(scale=0.5, nucleus_area=50, cell_area=100, **more)


def test_classical_takes_channels_by_name():
    cells = segmenter(options(), CHANNELS)(image())
    wanted = find_cells(image()[1], image()[2:], options())
    assert cells.count == 2
    np.testing.assert_array_equal(cells.labels, wanted.labels)


def test_another_number_of_channels_is_refused():
    with pytest.raises(DataError, match="green, blue, red"):
        segmenter(options(), CHANNELS)(image()[:2])


def test_cellpose_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "cellpose", None)
    with pytest.raises(DependencyError, match=r"pip install malpighi\[cellpose\]"):
        segmenter(options(method="cellpose"), CHANNELS)


class FakeCellpose:
    """Gives the left half of what it is shown as cell 7 and keeps what it was shown."""

    shown: tuple[int, ...] = ()

    def eval(self, x, channel_axis):
        assert channel_axis == 0
        FakeCellpose.shown = x.shape
        masks = np.zeros(x.shape[1:], np.uint16)
        masks[:, : x.shape[2] // 2] = 7
        return masks, [], None


def test_cellpose_cells_keep_their_nuclei(monkeypatch):
    package = SimpleNamespace(models=SimpleNamespace(CellposeModel=FakeCellpose))
    monkeypatch.setitem(sys.modules, "cellpose", package)
    cells = segmenter(options(method="cellpose"), CHANNELS)(image())
    assert FakeCellpose.shown == (2, 40, 60)
    assert cells.count == 1
    assert (cells.labels[:, :60] == 1).all()
    assert not cells.labels[:, 60:].any()
    assert cells.nuclei[40, 30] == 1
    assert cells.nuclei[40, 90] == 0


def test_a_nucleus_belongs_to_the_cell_that_holds_most_of_it():
    labels, nuclei = np.zeros((4, 8), np.int32), np.zeros((4, 8), np.int32)
    labels[:, :3], labels[:, 3:6], labels[0, 7] = 1, 2, 3
    nuclei[1:3, 2:5] = 5  # a third in cell 1, two thirds in cell 2
    cells = pair_cells(labels, nuclei, CellOptions(scale=1, nucleus_area=1, cell_area=1))
    assert isinstance(cells, Cells)
    assert cells.count == 1
    np.testing.assert_array_equal(cells.labels == 1, labels == 2)
    np.testing.assert_array_equal(cells.nuclei == 1, (nuclei == 5) & (labels == 2))


def test_nuclei_by_a_network_come_back_at_the_images_size():
    """The network is a fake that says what is bright; its distance is flat, so that objects are connected pieces."""
    seen = []

    def layers(shown):
        seen.append(shown)
        return np.stack([shown[0] > 127, np.full(shown.shape[1:], 0.5)]).astype(np.float32)

    run = SimpleNamespace(inputs=SimpleNamespace(channels=3))
    run.recipe = SimpleNamespace(instances=InstanceOptions(kind="distance"))
    found = nuclei_by(layers, run, image()[1].astype(np.uint16) * 5, CellOptions(nucleus_area=250))
    assert seen[0].shape[0] == 3
    assert seen[0].dtype == np.uint8
    assert seen[0].shape[1] < 80  # typical nuclei of 2,000 px² are 50 wide: they are shown smaller
    assert found.shape == (80, 120)
    assert found.max() == 2
    assert found[40, 30] == 1
    assert found[40, 90] == 2
    assert not nuclei_by(layers, run, image()[0], CellOptions()).any()


def test_the_starter_network_finds_nuclei():
    from malpighi.tasks.run import list_starters

    if "nuclei" not in list_starters():
        pytest.skip("the starter model `nuclei` is not installed")
    cells = segmenter(CellOptions(method="nuclei", scale=1, nucleus_area=50, cell_area=100), CHANNELS)(image())
    assert cells.count == 2
    assert cells.labels[40, 30] == cells.nuclei[40, 30] > 0
    assert cells.labels[40, 90] == cells.nuclei[40, 90] > 0
