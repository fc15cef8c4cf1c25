"""What follows thresholding: by hand, in blocks as in one piece, and after a stop as without one."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu

from malpighi.geometry import Box, Spacing
from malpighi.inference import masks as module
from malpighi.inference.masks import Masks
from malpighi.inference.store import PredictionStore
from malpighi.objects.energy import energies
from malpighi.objects.measure import ObjectOptions
from malpighi.tasks import after
from malpighi.tasks.after import changes_masks, clean_masks, needs_everywhere

SPACING = Spacing.um(2.0)
CORNERS = np.ones((3, 3))


@pytest.fixture
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_SHARD", {2: (8, (8, 16))})
    monkeypatch.setattr(after, "BLOCK", {2: 16})


def opened(path, probabilities, options, **more) -> PredictionStore:
    """A store with all boxes added, thresholds at .5; one that was begun in `path` goes on."""
    classes = [f"c{k}" for k in range(len(probabilities))]
    store = PredictionStore(
        path, probabilities.shape[1:], SPACING, classes, [0.5] * len(classes), everywhere=needs_everywhere(options), **more
    )
    for box in Box.of_shape(store.shape).split(store.align):
        if box not in store.done:
            store.add(box, probabilities[(slice(None), *box.slices)].astype(np.float32))
    store.decide()
    return store


def masks_of(store) -> np.ndarray:
    return np.stack([store.read_mask(k)(Box.of_shape(store.shape)) for k in range(len(store.classes))]).astype(bool)


def cleaned(path, probabilities, options, one_class=False, **more) -> np.ndarray:
    with opened(path, probabilities, options, **more) as store:
        clean_masks(store, SPACING, options, one_class=one_class)
        return masks_of(store)


def cloudy(shape, seed=0, classes=1) -> np.ndarray:
    """Probabilities with objects and holes of all sizes, in steps of 1/255 as the store keeps them."""
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    noise = ndimage.gaussian_filter(noise, (0, 1.5, 1.5)) + 0.5 * ndimage.gaussian_filter(noise, (0, 4, 4))
    return np.rint(255 / (1 + np.exp(-12 * noise))) / 255


def test_steps_by_hand(tmp_path):
    p = np.zeros((1, 12, 20))
    p[0, 1:6, 1:6] = 0.9
    p[0, 3, 3] = 0.2  # a hole of one pixel, 4 µm²
    p[0, 2:6, 9:13] = 0.6  # as large, and doubtful
    p[0, 9, 9] = 0.9  # a speck
    wanted = np.zeros((12, 20), bool)
    wanted[1:6, 1:6] = True
    options = ObjectOptions(fill_holes=5.0, energy=1.0, min_area=20.0)
    np.testing.assert_array_equal(cleaned(tmp_path / "all", p, options)[0], wanted)
    hole = wanted.copy()
    hole[3, 3] = False
    np.testing.assert_array_equal(cleaned(tmp_path / "b", p, ObjectOptions(energy=1.0, min_area=20.0))[0], hole)
    doubtful = p[0] == 0.6
    np.testing.assert_array_equal(cleaned(tmp_path / "c", p, ObjectOptions(min_area=20.0))[0], hole | doubtful)
    np.testing.assert_array_equal(cleaned(tmp_path / "d", p, ObjectOptions())[0], p[0] >= 0.5)


def test_a_hole_of_just_the_size_stays_and_so_does_a_bay(tmp_path):
    p = np.full((1, 10, 10), 0.9)
    p[0, 2:4, 2:4] = 0.1  # 4 pixels
    p[0, 7, 6:9] = 0.1  # 3
    p[0, 0, 5] = 0.1  # open to the image's border
    found = cleaned(tmp_path / "out", p, ObjectOptions(fill_holes=16.0))
    wanted = p[0] >= 0.5
    wanted[7, 6:9] = True
    np.testing.assert_array_equal(found[0], wanted)


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize("faces_only", [False, True])
def test_holes_energy_and_specks_in_blocks_as_in_one_piece(tmp_path, faces_only):
    p = cloudy((70, 61), classes=2)
    options = ObjectOptions(fill_holes=60.0, energy=1.3, temperature=1.5, min_area=50.0, faces_only=faces_only)
    found = cleaned(tmp_path / "out", p, options)
    own, other = (ndimage.generate_binary_structure(2, n) for n in ((1, 2) if faces_only else (2, 1)))
    for k in range(2):
        mask = p[k] >= 0.5
        numbers, count = ndimage.label(~mask, other)
        edge = np.unique(np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]]))
        small = np.flatnonzero(np.bincount(numbers.ravel(), minlength=count + 1) < 15)
        filled = mask | np.isin(numbers, np.setdiff1d(small, [0, *edge]))
        objects, count = ndimage.label(filled, own)
        each = np.arange(1, count + 1)
        means = ndimage.mean(energies(np.rint(p[k] * 255).astype(np.uint8), 1.5), objects, each)
        sizes = np.bincount(objects.ravel())[1:]
        wanted = np.isin(objects, each[(means >= 1.3) & (sizes >= 13)])
        assert mask.sum() < filled.sum()
        assert wanted.sum() < filled.sum()
        np.testing.assert_array_equal(found[k], wanted)


@pytest.mark.usefixtures("_small_blocks")
def test_small_objects_drawn_anew_in_blocks_as_in_one(tmp_path, monkeypatch):
    p, options = cloudy((70, 61), seed=1), ObjectOptions(otsu=200.0)
    found = cleaned(tmp_path / "blocks", p, options)
    monkeypatch.undo()
    whole = cleaned(tmp_path / "whole", p, options)
    assert (whole[0] != (p[0] >= 0.5)).sum() > 10
    np.testing.assert_array_equal(found, whole)


def test_an_object_drawn_anew_by_hand(tmp_path):
    p = np.full((1, 20, 20), 10 / 255)
    p[0, 8:12, 8:12] = 120 / 255
    p[0, 9:11, 8:11] = 140 / 255  # six pixels, 24 µm², of a square of sixteen
    found = cleaned(tmp_path / "out", p, ObjectOptions(otsu=25.0))
    np.testing.assert_array_equal(found[0], p[0] > threshold_otsu(np.rint(p[0] * 255).astype(np.uint8)) / 255)
    np.testing.assert_array_equal(cleaned(tmp_path / "as", p, ObjectOptions(otsu=24.0))[0], p[0] >= 0.5)


@pytest.mark.usefixtures("_small_blocks")
def test_of_an_image_only_the_class_with_most_voxels_stays(tmp_path):
    p = cloudy((40, 40), classes=3)
    p[1] = np.maximum(p[1], p[2])
    found = cleaned(tmp_path / "out", p, ObjectOptions(), one_class=True)
    assert (p[1] >= 0.5).sum() > max((p[k] >= 0.5).sum() for k in (0, 2))
    np.testing.assert_array_equal(found[1], p[1] >= 0.5)
    assert not found[[0, 2]].any()


def test_the_first_of_equal_classes_stays(tmp_path):
    p = np.zeros((2, 8, 8))
    p[0, 0, 0] = p[1, 5, 5] = 1
    found = cleaned(tmp_path / "out", p, ObjectOptions(), one_class=True)
    assert (found[0].sum(), found[1].sum()) == (1, 0)
    assert not cleaned(tmp_path / "none", np.zeros((2, 8, 8)), ObjectOptions(), one_class=True).any()


class Killed(BaseException):
    """What nobody catches."""


def contents(path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


@pytest.mark.usefixtures("_small_blocks")
@pytest.mark.parametrize(
    ("top", "parts"),
    [(0.0, [0.6]), *(pytest.param(top, np.linspace(0, 0.99, 9), marks=pytest.mark.slow) for top in (0.0, 40.0))],
)
def test_killed_at_any_write_and_resumed_as_if_it_had_not_been(tmp_path, monkeypatch, top, parts):
    p = cloudy((36, 40), seed=4, classes=2)
    options = ObjectOptions(fill_holes=60.0, otsu=200.0, energy=1.2, min_area=40.0)
    more = {"one_class": not top}
    writes: list[Box] = []
    write = PredictionStore.write_mask

    def counted(store, index, box, mask):
        if kills and len(writes) == kills[0]:
            kills.clear()
            raise Killed
        writes.append(box)
        write(store, index, box, mask)

    monkeypatch.setattr(PredictionStore, "write_mask", counted)
    kills: list[int] = []

    def run(path):
        with opened(path, p, options, top=top) as store:
            clean_masks(store, SPACING, options, **more)
            store.finish()

    run(tmp_path / "whole")
    wanted, total = contents(tmp_path / "whole"), len(writes)
    assert total > 20
    for at in (int(part * total) for part in parts):
        path = tmp_path / str(at)
        writes.clear()
        kills.append(at)
        with pytest.raises(Killed):
            run(path)
        kills.append(len(writes) + at // 2)  # and again, somewhere in what it does the second time
        try:
            run(path)
        except Killed:
            run(path)
        kills.clear()
        assert contents(path) == wanted


@pytest.mark.usefixtures("_small_blocks")
def test_a_killed_copy_is_made_again(tmp_path, monkeypatch):
    p, options = cloudy((36, 40), seed=4), ObjectOptions(otsu=200.0, energy=1.2)
    wanted = cleaned(tmp_path / "whole", p, options)
    copy, copied = Masks.copy, []

    def killed(masks):
        copy(masks)
        copied.append(1)
        if len(copied) == 2:  # of the second step, over that of the first
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Masks, "copy", killed)
        with pytest.raises(Killed):
            cleaned(tmp_path / "out", p, options)
    np.testing.assert_array_equal(cleaned(tmp_path / "out", p, options), wanted)


def test_masks_that_grow_need_probabilities_around_them(tmp_path):
    with (
        opened(tmp_path / "out", cloudy((16, 16)), ObjectOptions()) as store,
        pytest.raises(ValueError, match="everywhere=True"),
    ):
        clean_masks(store, SPACING, ObjectOptions(otsu=50.0))


def test_whether_there_is_anything_to_do():
    assert not changes_masks(ObjectOptions(min_area=4.0), SPACING)  # a pixel
    assert changes_masks(ObjectOptions(min_area=5.0), SPACING)
    assert changes_masks(ObjectOptions(), SPACING, one_class=True)
    for name in ("fill_holes", "otsu", "energy"):
        assert changes_masks(ObjectOptions(**{name: 9.0}), SPACING)
