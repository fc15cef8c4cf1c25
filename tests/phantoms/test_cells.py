"""The phantom of cells: patterns lie where they belong, labels hold for some cells, the truth is exact."""

import csv
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malpighi.errors import DataError, OutputError
from malpighi.phantoms import CellPhantom
from malpighi.phantoms.cell_labels import draw_labels
from malpighi.phantoms.cell_patterns import HPA_CLASSES, NEGATIVE, PATTERNS
from malpighi.phantoms.cells import CHANNELS, write_dataset

SHAPE = (384, 384)


@cache
def drawn(label: str) -> CellPhantom:
    """Cells of a size at which organelles can be measured, all of one class."""
    return CellPhantom(SHAPE, seed=5, labels=(label,), penetrance=1.0, diameter=110)


def parts(phantom: CellPhantom) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Green above its background, inside of nuclei, the rim of nuclei, cytoplasm well away from both."""
    green = phantom.image[1].astype(float) - 5
    nuclei = (phantom.nuclei > 0).astype(np.uint8)
    core = cv2.erode(nuclei, np.ones((3, 3)), iterations=4) > 0
    rim = (cv2.dilate(nuclei, np.ones((3, 3))) > 0) & ~(cv2.erode(nuclei, np.ones((3, 3)), iterations=3) > 0)
    far = (phantom.truth > 0) & ~(cv2.dilate(nuclei, np.ones((3, 3)), iterations=5) > 0)
    return green, core, rim, far


@cache
def silent(label: str) -> np.ndarray:
    """Green of the same cells without noise."""
    return CellPhantom(SHAPE, seed=5, labels=(label,), penetrance=1.0, diameter=110, noise=0.0).image[1].astype(float)


def own(label: str) -> np.ndarray:
    """Light of the protein alone: what the same cells without it do not have."""
    return np.maximum(silent(label) - silent(NEGATIVE), 0)


def test_fourteen_classes_of_the_competition_are_drawn_in_its_order():
    assert len(PATTERNS) == 14
    assert set(PATTERNS) <= set(HPA_CLASSES)
    assert [HPA_CLASSES.index(name) for name in PATTERNS] == sorted(HPA_CLASSES.index(name) for name in PATTERNS)


@pytest.mark.parametrize("label", ["Nucleoplasm", "Nucleoli", "Nuclear speckles", "Nuclear bodies"])
def test_patterns_of_the_nucleus_lie_in_it(label):
    light, phantom = own(label), drawn(label)
    assert light[phantom.nuclei > 0].sum() > 0.93 * light.sum()


def test_nucleoplasm_is_three_times_as_bright_as_cytoplasm():
    green, core, _, far = parts(drawn("Nucleoplasm"))
    assert green[core].mean() > 3 * green[far].mean()


def test_nuclear_membrane_is_a_rim():
    green, core, rim, far = parts(drawn("Nuclear membrane"))
    assert green[rim].mean() > 2 * green[core].mean()
    assert green[rim].mean() > 3 * green[far].mean()


def test_nucleoli_are_where_the_nucleus_is_dark():
    light, phantom = own("Nucleoli"), drawn("Nucleoli")
    core = parts(phantom)[1]
    blue = cv2.GaussianBlur(phantom.image[2], (0, 0), 1).astype(float)
    bright = light > 40
    assert bright[core].any()
    assert blue[core & bright].mean() < 0.8 * blue[core & ~bright].mean()


def test_speckles_are_many_and_bodies_few():
    def count(label):
        phantom, light = drawn(label), own(label)
        peaks = (light == cv2.dilate(light, np.ones((5, 5)))) & (light > 35) & (phantom.nuclei > 0)
        return peaks.sum() / len(np.unique(phantom.nuclei)[1:])

    assert count("Nuclear speckles") > 2 * count("Nuclear bodies") > 2


@pytest.mark.parametrize(("label", "channel"), [("Endoplasmic reticulum", 3), ("Microtubules", 0)])
def test_proteins_of_a_shown_structure_follow_its_channel(label, channel):
    phantom = drawn(label)
    inside = phantom.truth > 0

    def correlation(name):
        return np.corrcoef(own(name)[inside], drawn(name).image[channel][inside])[0, 1]

    assert correlation(label) > 0.6
    assert correlation(label) > correlation("Cytosol") + 0.15


def test_golgi_is_one_compact_place_beside_the_nucleus():
    phantom, light = drawn("Golgi apparatus"), own("Golgi apparatus")
    for cell in np.unique(phantom.nuclei)[1:][~phantom.border[np.unique(phantom.nuclei)[1:] - 1]]:
        held = np.where(phantom.truth == cell, light, 0)
        y, x = np.nonzero(held > 0.3 * held.max())
        assert np.hypot(y.std(), x.std()) < 14  # cells are 110 px wide
        assert held[phantom.nuclei == cell].sum() < 0.35 * held.sum()


def test_a_centrosome_is_a_point():
    phantom, light = drawn("Centrosome"), own("Centrosome")
    whole = [cell for cell in np.unique(phantom.nuclei)[1:] if not phantom.border[cell - 1]]
    assert whole
    for cell in whole:
        held = np.where(phantom.truth == cell, light, 0)
        assert 0 < (held > 0.3 * held.max()).sum() < 60


def test_plasma_membrane_lies_along_the_border_of_the_cell():
    phantom, light = drawn("Plasma membrane"), own("Plasma membrane")
    labels = np.pad(phantom.truth.astype(np.float32), 12, mode="edge")
    near = (cv2.erode(labels, np.ones((13, 13))) != labels) | (cv2.dilate(labels, np.ones((13, 13))) != labels)
    near = near[12:-12, 12:-12] & (phantom.truth > 0)
    inner = (phantom.truth > 0) & ~near
    assert light[near].mean() > 3 * light[inner].mean()


@pytest.mark.parametrize("label", ["Cytosol", "Mitochondria", "Vesicles and punctate cytosolic patterns"])
def test_patterns_of_the_cytoplasm_leave_the_nucleus_out(label):
    phantom = drawn(label)
    light, (_, core, _, far) = own(label), parts(phantom)
    assert light[far].mean() > 2.5 * light[core].mean()


def test_cytosol_is_even_and_vesicles_are_points():
    def unevenness(label):
        light, far = own(label), parts(drawn(label))[3]
        return light[far].std() / light[far].mean()

    assert unevenness("Vesicles and punctate cytosolic patterns") > 2 * unevenness("Cytosol")


def test_mitochondria_crowd_around_the_nucleus():
    phantom, light = drawn("Mitochondria"), own("Mitochondria")
    away = cv2.distanceTransform((phantom.nuclei == 0).astype(np.uint8), cv2.DIST_L2, 3)
    inside = phantom.truth > 0
    assert light[inside & (away > 3) & (away < 14)].mean() > 2 * light[inside & (away > 26)].mean()


def test_negative_cells_show_less_than_any_others():
    inside = drawn(NEGATIVE).truth > 0
    blank = silent(NEGATIVE)[inside].max()
    for label in PATTERNS[:-1]:
        assert silent(label)[inside].max() > 1.3 * blank, label  # the centrosome is but a point: no mean would show it


def test_channels_show_their_structures():
    phantom = drawn(NEGATIVE)
    red, _, blue, yellow = phantom.image.astype(float)
    _, core, _, far = parts(phantom)
    outside = phantom.truth == 0
    assert blue[core].mean() > 10 * blue[far].mean()
    assert red[far].mean() > 8 * red[outside].mean()
    away = cv2.distanceTransform((phantom.nuclei == 0).astype(np.uint8), cv2.DIST_L2, 3)
    inside = phantom.truth > 0
    assert yellow[inside & (away > 1) & (away < 12)].mean() > 2.5 * yellow[inside & (away > 25)].mean()
    assert yellow[inside & (away > 1) & (away < 12)].mean() > 2 * yellow[core].mean()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_truth_is_exact(seed):
    phantom = CellPhantom((128, 160), seed=seed, diameter=44)
    labels, nuclei = phantom.truth, phantom.nuclei
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) - {0} == set(range(1, phantom.count + 1))
    assert ((nuclei == 0) | (nuclei == labels)).all()
    for number, cut in enumerate(phantom.border, 1):
        if not cut:
            mask = (labels == number).astype(np.uint8)
            assert cv2.connectedComponents(mask, connectivity=4)[0] == 2
            rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            holes = [r for r, (_, _, _, parent) in zip(rings, tree[0], strict=True) if parent >= 0]
            assert all(labels[cv2.drawContours(np.zeros_like(mask), [r], -1, 1, -1) > 0].all() for r in holes)
    assert len(phantom.cell_classes) == phantom.count
    for name in phantom.image_labels:
        assert any(name in own for own in phantom.cell_classes), name
    assert {name for own in phantom.cell_classes for name in own} <= {*phantom.image_labels, NEGATIVE}


def test_sheets_have_free_ground_cells_that_touch_and_cells_that_the_border_cuts():
    shown, touching, cut = [], 0, 0
    for seed in range(6):
        phantom = CellPhantom((256, 256), seed=seed)
        labels = phantom.truth
        shown.append((labels > 0).mean())
        cut += phantom.border.sum()
        pairs = labels[:, :-1], labels[:, 1:]
        touching += ((pairs[0] > 0) & (pairs[1] > 0) & (pairs[0] != pairs[1])).any()
    assert 0.5 < np.mean(shown) < 0.7
    assert touching >= 4
    assert cut >= 12


def test_a_label_holds_for_only_some_cells():
    some = [CellPhantom((256, 256), seed=s, labels=("Nucleoli", "Cytosol"), penetrance=0.6) for s in range(4)]
    classes = [own for phantom in some for own in phantom.cell_classes]
    assert {"Nucleoli", "Cytosol", NEGATIVE} == {name for own in classes for name in own}
    blank = np.mean([own == (NEGATIVE,) for own in classes])
    assert 0.2 < blank < 0.6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True),
    st.lists(st.booleans(), min_size=2, max_size=12),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_every_label_holds_for_a_cell(labels, seen, penetrance, seed):
    cells = draw_labels(labels, PATTERNS, np.array(seen), penetrance, np.random.default_rng(seed))
    assert len(cells) == len(seen)
    for name in set(labels) - {NEGATIVE}:
        assert any(name in own for own in cells)
    assert all(own == (NEGATIVE,) or NEGATIVE not in own for own in cells)


def test_the_same_seed_gives_the_same_image_and_another_another():
    one, again, other = (CellPhantom((128, 128), seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.truth, again.truth)
    assert one.cell_classes == again.cell_classes
    assert one.image.dtype == np.uint8
    assert (one.image != other.image).mean() > 0.5


def test_labels_do_not_move_cells():
    one, other = (CellPhantom((128, 128), seed=3, labels=(name,)) for name in ("Cytosol", "Nucleoli"))
    np.testing.assert_array_equal(one.truth, other.truth)
    np.testing.assert_array_equal(one.image[[0, 2, 3]], other.image[[0, 2, 3]])


def test_sixteen_bits_show_the_same_finer():
    eight, sixteen = (CellPhantom((96, 96), seed=1, bits=bits).image for bits in (8, 16))
    assert sixteen.dtype == np.uint16
    np.testing.assert_allclose(sixteen / 257, eight, atol=0.6)


def test_as_many_cells_as_asked_for():
    for cells in (0, 1, 25):
        phantom = CellPhantom((200, 200), seed=2, cells=cells, diameter=30)
        assert phantom.count == cells == phantom.truth.max()
        assert phantom.image.shape == (4, 200, 200)
    assert CellPhantom((200, 200), cells=0).image_labels == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (40, 512)}, "64 to 8192"),
        ({"classes": ("Aggresome",)}, "Aggresome"),
        ({"classes": ("Cytosol",), "labels": ("Nucleoli",)}, "not among"),
        ({"share": 0}, "share"),
        ({"bits": 12}, "8 or 16"),
        ({"cells": -1}, "0 or more"),
        ({"diameter": 3}, "12 to 2000"),
    ],
)
def test_what_cannot_be_drawn_is_said(options, said):
    with pytest.raises(DataError, match=said):
        CellPhantom(**options)


def test_cells_that_have_no_room():
    with pytest.raises(DataError, match="no room"):
        _ = CellPhantom((128, 128), cells=300, diameter=40).image


def test_a_data_set_as_the_competition_lays_it_out(tmp_path):
    told = []
    write_dataset(tmp_path, 3, seed=4, shape=(96, 96), progress=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]
    with (tmp_path / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "truth/cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        planes = [cv2.imread(str(tmp_path / f"train/{row['ID']}_{c}.png"), cv2.IMREAD_UNCHANGED) for c in CHANNELS]
        assert all(plane.shape == (96, 96) and plane.dtype == np.uint8 for plane in planes)
        labels = cv2.imread(str(tmp_path / f"truth/{row['ID']}.png"), cv2.IMREAD_UNCHANGED)
        assert labels.dtype == np.uint16
        held = [cell for cell in cells if cell["ID"] == row["ID"]]
        assert [int(cell["cell"]) for cell in held] == list(range(1, labels.max() + 1))
        for label in row["Label"].split("|"):
            assert any(label in cell["labels"].split("|") for cell in held)
    assert not list(tmp_path.rglob("*.part"))


def test_a_path_with_braces_names_the_image(tmp_path):
    assert CellPhantom((64, 64)).write(tmp_path, "a") == str(tmp_path / "a_{red,green,blue,yellow}.png")
    assert {path.name for path in tmp_path.iterdir()} == {f"a_{channel}.png" for channel in CHANNELS}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        CellPhantom((64, 64)).write(tmp_path / "file", "a")


def test_the_phantom_numbers_classes_as_the_table_of_labels_does():
    from malpighi.annotations.hpa import HPA_2021
    from malpighi.phantoms.cell_patterns import HPA_CLASSES

    assert HPA_CLASSES == HPA_2021  # written twice: neither layer may know the other
