import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from malpighi.annotations.base import UNLABELLED
from malpighi.geometry import Box, Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling import measure
from malpighi.sampling.cases import open_case
from malpighi.sampling.classfacts import typical
from malpighi.sampling.layouts import find_cases
from malpighi.sampling.survey import survey


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(10, 200, shape).astype(dtype)


@pytest.fixture
def two_discs(tmp_path):
    """Two 20 × 30 images; the first mask holds a 4 × 4 and a 2 × 2 square, the second nothing."""
    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 3:7] = mask[10:12, 20:22] = 255
    for name, labels in (("a", mask), ("b", np.zeros_like(mask))):
        save(tmp_path / "images" / f"{name}.png", noise((20, 30, 3), seed=ord(name)))
        save(tmp_path / "masks" / f"{name}.png", labels)
    return tmp_path


def test_objects_by_hand(two_discs):
    found = survey(find_cases(two_discs, classes=["square"], spacing=0.5))
    facts = found.classes["square"]
    assert (facts.cases, facts.present, facts.objects) == (2, 1, 2)
    assert facts.share == pytest.approx(20 / 1200)
    np.testing.assert_allclose(facts.areas, [4 * 0.25, 16 * 0.25])
    np.testing.assert_allclose(facts.diameters_px, [2 * np.sqrt(4 / np.pi), 2 * np.sqrt(16 / np.pi)])
    np.testing.assert_allclose(facts.diameters_um, facts.diameters_px / 2)
    assert facts.unit == "µm"
    assert found.spacing == (0.5, 0.5)
    assert any("without any object: 1, such as b" in line for line in found.warnings)


def test_without_a_pixel_size_everything_is_in_pixels(two_discs):
    found = survey(find_cases(two_discs))
    assert found.spacing == ()
    assert found.classes["object"].unit == "px"
    assert len(found.classes["object"].diameters_um) == 0
    assert any("--spacing" in line for line in found.warnings)


def test_everything_is_json(two_discs):
    told = json.loads(json.dumps(survey(find_cases(two_discs)).as_dict()))
    assert told["cases"] == 2
    assert told["sizes"]["median"] == [20, 30]
    assert told["classes"]["object"]["objects"] == 2
    assert [row["channel"] for row in told["intensity"]] == ["red", "green", "blue"]


def test_intensity_is_that_of_the_pixels(two_discs):
    found = survey(find_cases(two_discs))
    pixels = np.concatenate([np.asarray(Image.open(two_discs / "images" / f"{n}.png"))[..., 1].ravel() for n in "ab"])
    assert found.intensity[1]["p50"] == np.median(pixels)
    assert found.intensity[1]["mean"] == pytest.approx(pixels.mean())


def test_broken_cases_are_named_and_the_rest_is_measured(two_discs):
    save(two_discs / "masks" / "b.png", np.zeros((5, 5), np.uint8))
    (two_discs / "images" / "c.png").write_bytes(b"no picture")
    calls = []
    found = survey(find_cases(two_discs), lambda: calls.append(1))
    assert len(found.problems) == 2
    assert "5 × 5" in found.problems[0]
    assert "c.png" in found.problems[1]
    assert found.classes["object"].objects == 2
    assert len(calls) == 3


def test_not_finite_is_broken_and_blank_is_said(tmp_path):
    save(tmp_path / "nan.tif", np.full((8, 8), np.nan, np.float32))
    save(tmp_path / "blank.tif", np.full((8, 8), 7, np.float32))
    found = survey(find_cases(tmp_path))
    assert len(found.problems) == 1
    assert "nan.tif" in found.problems[0]
    assert any("blank.tif" in line and "every sampled pixel is 7" in line for line in found.warnings)


def test_mixed_depths_and_copies_in_two_groups_are_said(tmp_path):
    save(tmp_path / "a.tif", noise((8, 8)))
    save(tmp_path / "b.tif", noise((8, 8)))
    save(tmp_path / "c.tif", noise((8, 8), np.uint16))
    warnings = survey(find_cases(tmp_path)).warnings
    assert any("value types: uint8 (2), uint16 (1)" in line for line in warnings)
    assert any("the same image file: a, b; they are in different groups" in line for line in warnings)


def test_volumes_are_measured_as_volumes(tmp_path):
    mask = np.zeros((6, 16, 16), np.uint8)
    mask[1:3, 2:6, 2:6] = 255
    save(tmp_path / "images" / "v.tif", noise((6, 16, 16)))
    save(tmp_path / "masks" / "v.tif", mask)
    found = survey(find_cases(tmp_path))
    assert found.rank == 3
    np.testing.assert_allclose(found.classes["object"].diameters_px, np.cbrt(6 * 32 / np.pi))


def test_numbered_objects_that_touch_are_told_apart(tmp_path):
    mask = np.zeros((10, 10), np.uint8)
    mask[2:4, 2:4], mask[2:4, 4:8] = 1, 2
    save(tmp_path / "images" / "n.png", noise((10, 10, 3)))
    save(tmp_path / "labels" / "n.png", mask)
    assert survey(find_cases(tmp_path)).classes["object"].areas.tolist() == [4, 8]


def test_a_case_speaks_only_of_its_own_classes(tmp_path):
    for structure in ("tuft", "capsule"):
        save(tmp_path / structure / "pas" / "images" / "im_1_0.png", noise((8, 8, 3)))
        save(tmp_path / structure / "pas" / "masks" / "im_1_0.png", np.full((8, 8), 255, np.uint8))
    table = find_cases(tmp_path)
    with open_case(table.cases[0], table.classes) as opened:
        assert opened.annotation.classes == ("capsule", "tuft")
        layers = opened.annotation.rasterise(Box((-2, 0), (4, 4)))
        assert (layers[0] == [[0] * 4, [0] * 4, [1] * 4, [1] * 4]).all()
        assert (layers[1] == UNLABELLED).all()  # outside the image too
    found = survey(table)
    assert found.classes["tuft"].cases == found.classes["capsule"].cases == 1
    assert found.classes["tuft"].share == 1


def test_two_label_files_of_one_case(tmp_path):
    save(tmp_path / "i.png", noise((4, 4, 3)))
    for name, column in (("t", 0), ("c", 2)):
        mask = np.zeros((4, 4), np.uint8)
        mask[:, column] = 255
        save(tmp_path / f"m_{name}.png", mask)
    (tmp_path / "manifest.csv").write_text("image,labels,class\ni.png,m_t.png;m_c.png,tuft;capsule\n")
    table = find_cases(tmp_path, classes=["capsule", "tuft"])
    with open_case(table.cases[0], table.classes) as opened:
        layers = opened.annotation.rasterise(Box.of_shape((4, 4)))
    assert layers[:, 0].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_an_image_without_labels_has_no_annotation(two_discs):
    table = find_cases(two_discs)
    with open_case(replace(table.cases[0], labels=()), table.classes) as opened:
        assert opened.annotation is None
        assert opened.source.shape == (20, 30)


def test_large_masks_are_measured_coarser_in_pieces(two_discs, monkeypatch):
    mask = np.zeros((64, 64), np.uint8)
    mask[8:40, 16:48] = 255
    save(two_discs / "images" / "a.png", noise((64, 64, 3)))
    save(two_discs / "masks" / "a.png", mask)
    monkeypatch.setattr(measure, "WHOLE", 1024)
    monkeypatch.setattr(measure, "AT_ONCE", 256)
    found = survey(find_cases(two_discs, where={"id": ["a"]}))
    assert found.facts[0].reduction == 4
    assert found.classes["object"].areas.tolist() == [32 * 32]
    assert any("1/4 of their resolution" in line for line in found.warnings)


def test_thumbnail_in_pieces_equals_the_whole(monkeypatch):
    source = ArraySource(noise((3, 50, 70)), Spacing.um(0.5))
    whole, spacing = measure.thumbnail(source, 35)
    assert (whole.shape, spacing.values) == ((3, 25, 35), (1.0, 1.0))
    monkeypatch.setattr(measure, "AT_ONCE", 100)
    np.testing.assert_array_equal(measure.thumbnail(source, 35)[0], whole)


def test_huge_images_of_one_level_are_sampled_here_and_there(monkeypatch):
    reads = []

    class Huge(ArraySource):
        def _read(self, box, level):
            reads.append(box.volume)
            return super()._read(box, level)

    monkeypatch.setattr(measure, "AT_ONCE", 1000)
    monkeypatch.setattr(measure, "THUMBNAIL", 1000)
    source = Huge(np.broadcast_to(np.uint8(9), (1, 2000, 3000)))
    assert (measure.intensities(source) == 9).all()
    assert sum(reads) == 64 * 64 * 64


def test_typical_is_the_size_above_which_half_of_the_area_lies():
    assert typical(np.array([1, 1, 1, 1, 10.0]), 2) == 10
    assert typical(np.array([3.0, 3.0, 3.0]), 3) == 3
    assert typical(np.zeros(0), 2) is None


def test_run_lengths_of_a_competition_are_column_major(tmp_path):
    save(tmp_path / "train" / "k.tiff", noise((6, 5, 3)))
    (tmp_path / "train.csv").write_text("id,encoding\nk,2 3 14 2\n")
    table = find_cases(tmp_path)
    with open_case(table.cases[0], table.classes) as opened:
        (layer,) = opened.annotation.rasterise(Box.of_shape((6, 5)))
    assert np.argwhere(layer).tolist() == [[1, 0], [1, 2], [2, 0], [2, 2], [3, 0]]
    assert survey(table).classes["glomerulus"].objects == 2


def outlines(path: Path, **squares: tuple[int, int]) -> None:
    """One 4 × 4 square a class, at (x, y)."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x + 4, y], [x + 4, y + 4], [x, y + 4], [x, y]]]},
            "properties": {"classification": {"name": name}},
        }
        for name, (x, y) in squares.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def test_a_slide_whose_geojson_lacks_a_class_says_it_is_absent(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.tif", noise((12, 12, 3), seed=ord(name)))
    outlines(tmp_path / "a.geojson", tuft=(1, 2), capsule=(6, 6))
    outlines(tmp_path / "b.geojson", tuft=(0, 0))
    outlines(tmp_path / "c.geojson")
    found = survey(find_cases(tmp_path))
    assert not found.problems
    assert (found.classes["tuft"].cases, found.classes["tuft"].present) == (3, 2)
    assert (found.classes["capsule"].cases, found.classes["capsule"].present) == (3, 1)
    assert found.classes["capsule"].areas.tolist() == [16]


@pytest.mark.real_data
def test_kidney_dab(real):
    found = survey(find_cases(real / "kidney_dab", classes=["glomerulus"]))
    assert not found.problems
    facts = found.classes["glomerulus"]
    assert facts.objects == 19
    assert 140 < typical(facts.diameters_px, 2) < 180


@pytest.fixture
def labelled_as_a_whole(tmp_path):
    """Three images of a file a channel, one without its second; two are labelled."""
    rows = ["image,image_labels", '"a_{red,green}.png",Cytosol;Nucleoli', '"b_{red,green}.png",none', '"c_{red,blue}.png",']
    for k, row in enumerate(rows[1:]):
        stem, names = row[1], row[4:].split("}")[0].split(",")
        for name in names:
            save(tmp_path / f"{stem}_{name}.png", noise((12, 9), seed=k % 2))
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    return tmp_path


def test_image_labels_are_counted_and_missing_channels_named(labelled_as_a_whole):
    found = survey(find_cases(labelled_as_a_whole))
    assert found.image_labels == {"Cytosol": 1, "Nucleoli": 1}
    assert found.labels_an_image == {0: 1, 2: 1}
    assert found.lacking == {"a": ("blue",), "b": ("blue",), "c": ("green",)}
    assert any("channels are missing: a has no blue" in line for line in found.warnings)
    told = found.as_dict()
    assert told["labels_an_image"] == {"0": 1, "2": 1}
    assert told["lacking_channels"]["c"] == ["green"]
    assert found.problems == ()


def test_the_same_channels_under_two_names_are_the_same_image(labelled_as_a_whole):
    assert survey(find_cases(labelled_as_a_whole)).duplicates == (("a", "c"),)


def test_the_page_and_the_table_of_cases_tell_image_labels(labelled_as_a_whole):
    from malpighi.reports.survey import case_table, label_rows, survey_report

    found = survey(find_cases(labelled_as_a_whole))
    assert label_rows(found)[0] == {"image label": "Cytosol", "images": 1, "share": "50.0 %"}
    assert case_table(found).splitlines()[1].split(",")[5] == "Cytosol;Nucleoli"
    page = survey_report(found, pictures=1).html()
    assert "Images by label" in page
