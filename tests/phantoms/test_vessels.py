"""The vessel phantom: a function of place, with exact truth."""

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.errors import DataError, OutputError
from malpighi.geometry import Box
from malpighi.images.open import open_image
from malpighi.phantoms import VesselPhantom

SHAPE = (48, 80, 72)
SMALL = VesselPhantom(SHAPE, seed=3)
WHOLE = Box.of_shape(SHAPE)


@pytest.fixture(scope="module")
def volume():
    return SMALL.render(Box((-8, -8, -8), (64, 96, 88)))


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(-8, 40)] * 3), st.tuples(*[st.integers(1, 15)] * 3))
def test_a_voxel_does_not_depend_on_the_box_it_is_rendered_with(volume, start, size):
    part = volume[(slice(None), *Box(start, size).relative_to((-8, -8, -8)).slices)]
    np.testing.assert_array_equal(SMALL.render(Box(start, size)), part)


def test_the_same_seed_gives_the_same_volume_and_another_another(volume):
    box = Box((10, 20, 20), (20, 20, 20))
    inside = (slice(None), *box.relative_to((-8, -8, -8)).slices)
    np.testing.assert_array_equal(VesselPhantom(SHAPE, seed=3).render(box), volume[inside])
    other = VesselPhantom(SHAPE, seed=5)
    assert (other.render(box) != volume[inside]).mean() > 0.9
    assert other.tree.total_length != SMALL.tree.total_length


def test_truth_has_the_volume_of_the_tree():
    """A sparse tree of long, thin branches, so that little of it overlaps at bifurcations."""
    phantom = VesselPhantom((100, 140, 140), seed=1, terminals=6, smallest=60.0)
    box = Box.of_shape(phantom.shape)
    inside = phantom.tree.volume.sum() / 20**3
    assert phantom.truth_mask(box).sum() == pytest.approx(inside, rel=0.12)
    assert phantom.occupancy(box).sum() == pytest.approx(phantom.truth_mask(box).sum(), rel=0.02)


def test_vessels_are_brighter_than_the_tissue_around_them(volume):
    from scipy.ndimage import binary_dilation

    inside = volume[0, 8:56, 8:88, 8:80].astype(float)
    truth = SMALL.truth_mask(WHOLE).astype(bool)
    around = binary_dilation(truth, iterations=4) & ~binary_dilation(truth, iterations=2)
    assert inside[truth].mean() > inside[around].mean() + inside[around].std()


def test_a_threshold_does_not_find_them(volume):
    inside, truth = volume[0, 8:56, 8:88, 8:80], SMALL.truth_mask(WHOLE).astype(bool)
    cuts = np.percentile(inside, np.linspace(50, 99.8, 60))
    assert max(2 * (truth & (inside > t)).sum() / (truth.sum() + (inside > t).sum()) for t in cuts) < 0.7


def test_rings_are_circles_about_the_axis():
    box = Box((20, 0, 0), (1, 80, 72))
    kept = {"noise": 0.0, "drift": 0.0}
    with_rings, without = (VesselPhantom(SHAPE, 3, rings=r, **kept).render(box)[0, 0].astype(float) for r in (1.0, 0.0))
    added = with_rings - without
    y, x = np.indices(added.shape)
    radius = np.rint(2 * np.hypot(y + 0.5 - 40, x + 0.5 - 36)).astype(int)
    mean = np.bincount(radius.ravel(), added.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    assert added.std() > 10
    assert np.abs(added - mean[radius]).max() <= 0.15 * np.abs(added).max() + 2


def test_drift_is_one_factor_a_slice():
    kept = {"noise": 0.0, "rings": 0.0}
    box = Box((0, 30, 30), (48, 8, 8))
    drifted, still = (VesselPhantom(SHAPE, 3, drift=d, **kept).render(box)[0] - 18000.0 for d in (1.0, 0.0))
    gain = drifted / still
    assert gain.mean((1, 2)).std() > 0.005
    assert gain.std((1, 2)).max() < 0.002


def test_source_reads_what_render_draws(volume):
    source = SMALL.source
    assert (source.shape, source.dtype, source.space.spacing.values) == (SHAPE, np.uint16, (20.0, 20.0, 20.0))
    np.testing.assert_array_equal(source.read(WHOLE), volume[:, 8:56, 8:88, 8:80])


def test_sparse_truth_by_slices_says_unlabelled():
    mask = SMALL.truth(slices=0.25).read(WHOLE)[0]
    labelled = (mask != 255).all((1, 2))
    assert labelled.sum() == 12
    np.testing.assert_array_equal(mask[labelled], SMALL.truth_mask(WHOLE)[labelled])
    assert (mask[~labelled] == 255).all()


@pytest.mark.parametrize("share", [0.65, 0.85])
def test_sparse_truth_by_vessels_leaves_out_the_stated_share(share):
    phantom = VesselPhantom((96, 128, 128), seed=0)
    box = Box.of_shape(phantom.shape)
    dense, sparse = phantom.truth_mask(box), phantom.truth(vessels=share).read(box)[0]
    assert not (sparse > dense).any()
    assert sparse.sum() / dense.sum() == pytest.approx(share, abs=0.04)


def test_any_spacing_by_axis():
    phantom = VesselPhantom((24, 60, 60), seed=0, spacing=(40.0, 20.0, 20.0))
    assert phantom.render(Box.of_shape(phantom.shape)).shape == (1, 24, 60, 60)
    assert phantom.space.spacing.values == (40.0, 20.0, 20.0)


@pytest.mark.parametrize("name", ["volume.ome.zarr", "volume.tif"])
def test_written_volumes_read_back_with_their_spacing(tmp_path, volume, name):
    SMALL.write(tmp_path / name)
    SMALL.write_truth(tmp_path / f"truth_{name}")
    with open_image(tmp_path / name) as image, open_image(tmp_path / f"truth_{name}", labels=True) as truth:
        assert image.space.spacing.values == (20.0, 20.0, 20.0)
        np.testing.assert_array_equal(image.read(WHOLE), volume[:, 8:56, 8:88, 8:80])
        np.testing.assert_array_equal(truth.read(WHOLE)[0], SMALL.truth_mask(WHOLE))
    with pytest.raises(OutputError, match="exists"):
        SMALL.write(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"truth_{name}"])


def test_slices_that_nobody_annotated_are_not_written(tmp_path, volume):
    SMALL.write(tmp_path / "images")
    SMALL.write_truth(tmp_path / "labels", slices=0.25)
    assert len(list((tmp_path / "images").iterdir())) == 48
    names = sorted(p.name for p in (tmp_path / "labels").iterdir())
    assert len(names) == 12
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "images" / "0007.tif"), volume[0, 15, 8:88, 8:80])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels" / names[0]), SMALL.truth_mask(WHOLE)[int(names[0][:4])])


def test_only_a_slab_is_drawn_at_a_time(tmp_path, monkeypatch):
    """Memory does not grow with the volume: no box drawn is larger than a shard."""
    drawn = []
    render = VesselPhantom.render
    monkeypatch.setattr(VesselPhantom, "render", lambda self, box: drawn.append(box.volume) or render(self, box))
    phantom = VesselPhantom((40, 300, 270), seed=0, terminals=3)
    phantom.write(tmp_path / "slices")
    phantom.write(tmp_path / "volume.zarr")
    assert sum(drawn) == 2 * 40 * 300 * 270
    assert max(drawn) <= 16 * 256 * 256


def test_what_cannot_be_drawn_is_said():
    for wrong in ({"shape": (8, 64, 64)}, {"spacing": 0.0}, {"trees": 0}, {"terminals": 0}, {"smallest": -1.0}):
        with pytest.raises(DataError, match="phantom"):
            VesselPhantom(**{"shape": SHAPE, **wrong})
    with pytest.raises(DataError, match="share"):
        SMALL.truth(slices=0)
    with pytest.raises(OutputError, match="folder of slices"):
        SMALL.write("volume.png")
