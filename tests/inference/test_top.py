import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from malpighi.geometry import Box, Spacing
from malpighi.inference import masks as module
from malpighi.inference.store import PredictionStore
from malpighi.inference.top import LEVELS, Kept, limit

SHAPE = (9, 20, 17)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(module, "_SHARD", {2: (8, 16), 3: ((2, 4, 4), (2, 8, 8))})


def test_the_limit_by_hand():
    counts = np.array([90, 4, 3, 2, 1])
    assert limit(counts, 1) == 4
    assert limit(counts, 2) == 3  # two voxels share the place: both are in
    assert limit(counts, 3) == 3
    assert limit(counts, 10) == 1
    assert limit(counts, 50) == 1  # only ten voxels have any probability
    assert limit(counts, 0.1) == 5  # not one voxel: above every level


@given(st.lists(st.integers(0, 20), min_size=2, max_size=12), st.floats(0.1, 99))
def test_at_least_the_share_is_above_the_limit_and_one_level_higher_is_less(counts, top):
    counts = np.array(counts)
    wanted = round(counts.sum() * top / 100)
    found = limit(counts, top)
    if 1 < found < len(counts):
        assert counts[found:].sum() >= wanted > counts[found + 1 :].sum()
    if found == 1 and counts[1:].sum() >= wanted:
        assert wanted > counts[2:].sum()


def probabilities(seed=0) -> np.ndarray:
    return (np.random.default_rng(seed).random((2, *SHAPE), dtype=np.float32) ** 3).astype(np.float32)


def written(path, values, stop=None, **more) -> bool:
    with PredictionStore(path, SHAPE, Spacing.um(1.0, 3), ("a", "b"), (0.5, 0.5), top=2.0, **more) as store:
        boxes = [box for box in Box.of_shape(SHAPE).split(store.align) if box not in store.done]
        for box in boxes[:stop]:
            store.add(box, values[(slice(None), *box.slices)])
        if stop is not None:
            return False
        limits = store.decide()
        store.finish({"thresholds": limits.tolist()})
    return True


@pytest.mark.parametrize("keeps", [True, False])
def test_the_store_keeps_the_most_probable_voxels_of_each_class(tmp_path, keeps):
    values = probabilities()
    written(tmp_path / "out", values, probabilities=keeps)
    labels = zarr.open_group(tmp_path / "out/labels.ome.zarr", mode="r")["labels"]
    for name, mine in zip("ab", values, strict=True):
        mask = labels[name]["0"][:].astype(bool)
        wanted = round(mask.size * 0.02)
        assert wanted <= mask.sum() <= wanted + 2  # ties at 16 bits
        assert mine[mask].min() >= mine[~mask].max() - 1 / LEVELS
    assert not list((tmp_path / "out").glob("unfinished*"))
    if keeps:
        stored = zarr.open_group(tmp_path / "out/probabilities.ome.zarr", mode="r")["0"][:]
        np.testing.assert_allclose(stored / 255, values, atol=0.5 / 255 + 1 / LEVELS)


def test_stopped_and_resumed_is_the_same_bytes(tmp_path):
    values = probabilities(1)
    written(tmp_path / "whole", values)
    for stop in (3, 5, None):
        written(tmp_path / "parts", values, stop)
    files = [
        sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert files[0] == files[1]
    assert all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "parts" / f).read_bytes() for f in files[0])


def test_kept_probabilities_come_back_to_16_bits(tmp_path):
    kept = Kept(tmp_path / "kept", SHAPE, Spacing.um(1.0, 3), ("a", "b"), chunk=4, shard=8)
    values = probabilities()
    for box in Box.of_shape(SHAPE).split(kept.align):
        kept.write(box, values[(slice(None), *box.slices)])
    np.testing.assert_allclose(kept.read(Box.of_shape(SHAPE)) / LEVELS, values, atol=0.5 / LEVELS + 1e-7)
