"""Pages and pictures of cells."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from malpighi.errors import DataError
from malpighi.reports.cells import write_cells_report, write_cycle_report
from malpighi.reports.cells_composite import composite, stretch_limits
from malpighi.reports.cells_pictures import contact_sheet, map_overlays, outlined
from malpighi.reports.colors import FALSE_POSITIVE
from reports.page import Reader

CLASSES = ("Nucleoplasm", "Golgi <apparatus>", "Negative")


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def cycles(count=2):
    return [
        {
            "cycle": n,
            "labelled": 100 * n,
            "gained": 40 if n > 1 else None,
            "lost": 7 if n > 1 else None,
            "agreement": 0.93 if n > 1 else None,
            "counts": {"Nucleoplasm": 60 * n, "Golgi <apparatus>": 40 * n},
            "image_map": 0.71,
            "maps_map": 0.52,
            "cell_map": 0.6 + 0.05 * n,
            "fused_map": 0.7 + 0.05 * n,
            "rule": {"image": 0.5, "maps": 0.25, "negative": 2, "edge_area": 80000.0, "thresholds": [0.41, 0.52, 0.5]},
            "tried": [{"image": 0.0, "mAP": 0.66}, {"image": 0.5, "mAP": 0.8}],
        }
        for n in range(1, count + 1)
    ]


def test_a_composite_adds_lights_up():
    image = np.zeros((4, 1, 4), np.uint16)
    for channel in range(4):
        image[channel, 0, channel] = 1000
    rgb = composite(image, ("red", "green", "blue", "yellow"), limits=np.array([[0, 1000]] * 4))
    assert rgb.dtype == np.uint8
    assert rgb[0, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert rgb[0, 3, 0] == rgb[0, 3, 1] > 0 == rgb[0, 3, 2]


def test_each_channel_is_stretched_by_itself():
    ramp = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    one = composite(np.stack([ramp, 1000 * ramp]), ("red", "green"))
    assert np.abs(one[..., 0].astype(int) - one[..., 1]).max() <= 1
    assert one.min() == 0
    assert one.max() == 255
    np.testing.assert_allclose(stretch_limits(np.stack([ramp, 10 * ramp])), [[0.01, 0.997], [0.1, 9.97]], rtol=1e-3)


def test_an_empty_channel_is_black():
    assert composite(np.full((1, 5, 5), 7, np.uint8), ("green",)).max() == 0


def test_a_composite_of_too_few_names():
    with pytest.raises(DataError, match="2 channel names"):
        composite(np.zeros((3, 5, 5)), ("red", "green"))


def test_a_sheet_has_a_row_a_class_the_surest_first():
    """Three flat crops tell which cell stands where: red, green, blue."""
    crops = np.zeros((3, 3, 10, 10), np.uint8)
    for i in range(3):
        crops[i, i] = 200
    limits = [np.array([[0, 200]] * 3)] * 3
    sheet = pixels(
        contact_sheet(
            crops, ["b", "b", ""], [0.2, 0.9, 1.0], ["a", "b"], limits=limits, channels=("red", "green", "blue"), side=50
        )
    )
    tile = 24 + 24 + 25  # the heading of a, which has no cell, and of b; the middle of a tile
    assert sheet[tile, 4 + 25].tolist() == [0, 255, 0]
    assert sheet[tile, 4 + 50 + 4 + 25].tolist() == [255, 0, 0]
    assert not (sheet == (0, 0, 255)).all(-1).any(), "a cell of no class is left out"


def test_wrong_cells_are_framed_where_the_truth_is_known():
    crops = np.full((3, 4, 12, 12), 50, np.uint8)

    def framed(truth):
        sheet = pixels(contact_sheet(crops, ["a", "a", "a"], [0.9, 0.8, 0.7], ["a", "b"], truth=truth, side=64))
        found = (sheet == FALSE_POSITIVE).all(-1)
        return [bool(found[:, 4 + i * 68 : 4 + i * 68 + 64].any()) for i in range(3)]

    assert framed([("a",), ("b",), None]) == [False, True, False]
    assert framed([("a", "b"), (), ("b", "a")]) == [False, True, False]
    assert framed(None) == [False, False, False]


def test_a_cell_without_protein_stays_dark_beside_others():
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 200, (5, 1, 20, 20)).astype(np.uint8)
    crops[4] = crops[4] // 20
    sheet = pixels(contact_sheet(crops, ["a"] * 5, [0.9, 0.8, 0.7, 0.6, 0.5], ["a"], channels=("green",), side=40))
    bright = [sheet[24:64, 4 + i * 44 : 44 + i * 44, 1].mean() for i in range(5)]
    assert bright[4] < 0.25 * min(bright[:4])


def test_a_sheet_of_crops_of_different_sizes_and_of_none():
    crops = [np.ones((4, 30, 10), np.uint16), np.ones((4, 5, 50), np.uint16)]
    assert pixels(contact_sheet(crops, ["a", "a"], [0.5, 0.4], ["a"])).shape[2] == 3
    assert pixels(contact_sheet([], [], [], ["a", "b"])).shape[0] == 48
    with pytest.raises(DataError, match="2 crops, 1 classes"):
        contact_sheet(crops, ["a"], [0.5, 0.4], ["a"])


def test_a_heading_tells_how_many_cells_there_are_in_all():
    crops = np.zeros((2, 4, 8, 8), np.uint8)
    given, same, more = (contact_sheet(crops, ["a", "a"], [0.5, 0.4], ["a"], counts=c) for c in (None, {"a": 2}, {"a": 731}))
    assert given == same != more


def test_heat_lies_where_the_map_is_high():
    image = np.full((4, 64, 64), 100, np.uint8)
    maps = np.zeros((2, 8, 8), np.float32)
    maps[1, :, 4:] = 1
    panels = pixels(map_overlays(image, maps, None, ["a", "b"], [0.1, 0.9], columns=3))
    width = panels.shape[1] // 3
    cold, hot = panels[40, width + 20].astype(int), panels[40, 2 * width + 55].astype(int)
    assert cold.max() - cold.min() < 5
    assert hot[0] > hot[2] + 60


def test_cells_are_outlined_in_every_panel():
    image = np.zeros((4, 64, 64), np.uint8)
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 20:40] = 1
    panels = pixels(map_overlays(image, np.zeros((1, 8, 8)), labels, ["a"]))
    for left in (0, 68):
        part = panels[24 : 24 + 64, left : left + 64]
        assert part[20, 30].max() > 100
        assert part[30, 30].max() == 0
    with pytest.raises(DataError, match="2 names"):
        map_overlays(image, np.zeros((1, 8, 8)), labels, ["a", "b"])


def test_outlines_have_the_colour_of_the_class():
    labels = np.zeros((700, 700), np.int32)
    labels[100:300, 100:300] = 1
    labels[100:300, 300:500] = 2
    labels[400:500, 100:200] = 3
    shown = pixels(outlined(np.zeros((4, 700, 700), np.uint8), labels, {1: "a", 2: "b"}, ["a", "b"], side=700))
    first, second, none = shown[100, 200].astype(int), shown[100, 400].astype(int), shown[400, 150].astype(int)
    assert first[1] > first[0]  # green
    assert second[0] > second[2]  # orange
    assert none.max() - none.min() < 12
    assert shown[200, 200].max() == 0
    assert shown.shape[0] > 700, "a key below"


@pytest.fixture
def sheet():
    return contact_sheet(np.zeros((1, 4, 8, 8), np.uint8), ["Nucleoplasm"], [0.5], CLASSES)


def test_the_page_of_a_cycle(tmp_path, sheet):
    path = write_cycle_report(
        tmp_path / "report.html",
        {"image mAP": 0.8123, "cells": 4210, "labelled cells": 200, "of no value": None},
        cycles(),
        classes=CLASSES,
        by_class=[
            {"class": "Nucleoplasm", "image_ap": 0.912, "cell_ap": None, "images": 12},
            {"class": "Golgi <apparatus>", "image_ap": None, "cell_ap": None, "images": 0},
        ],
        sheets={"a sheet": sheet},
        overlays={"maps of ID_1": sheet},
        left_out=[{"image": "ID_9", "reason": "no cell was found"}],
        warnings=["Little was learnt."],
        rule=["Half of each ranked held-out images best."],
        recipe="[pseudo]\nthreshold = 0.5\n",
        environment={"python": "3.11", "packages": {"torch": "2.15"}},
        use="malpighi segment IMAGE -m RUN",
    )
    page = Reader(path.read_text(encoding="utf-8"))
    for said in (
        "0.812", "4 210", "2 (kept)", "93.0 %", "0.710", "Golgi <apparatus>", "No cell has the label Negative", "0.912", "0.410", "negative Negative",
        "a sheet", "maps of ID_1", "no cell was found", "Little was learnt.", "Half of each", "threshold = 0.5", "2.15", "segment IMAGE",
    ):  # fmt: skip
        assert said in page.words, said
    assert "of no value" not in page.words
    assert page.open == []
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert all(not str(attrs.get("src", "")).startswith("http") for _, attrs in page.tags)


def test_what_changed_may_stand_under_agreement(tmp_path):
    rows = cycles()
    by_class = {"Nucleoplasm": {"same": 0.875, "both": 48, "gained": 12, "lost": 5}}
    rows[1] = rows[1] | {"agreement": {"same": 0.951, "both": 90, "gained": 31, "lost": 8, "by_class": by_class}}
    del rows[1]["gained"], rows[1]["lost"]
    words = Reader(write_cycle_report(tmp_path / "a.html", {}, rows, classes=CLASSES).read_text(encoding="utf-8")).words
    assert "200 31 8 95.1 %" in words
    assert "Nucleoplasm 48 12 5 87.5 %" in words


def test_the_cycle_that_was_kept_is_the_best_or_the_one_that_is_said(tmp_path):
    rows = cycles(3)
    rows[1]["fused_map"] = 0.99
    path = write_cycle_report(tmp_path / "a.html", {}, rows, classes=CLASSES)
    assert "2 (kept)" in Reader(path.read_text(encoding="utf-8")).words
    path = write_cycle_report(tmp_path / "a.html", {}, rows, classes=CLASSES, best=1)
    assert "1 (kept)" in Reader(path.read_text(encoding="utf-8")).words


def test_a_cycle_of_which_little_is_known(tmp_path):
    words = Reader(write_cycle_report(tmp_path / "a.html", {}, [{"cycle": 1}], classes=CLASSES).read_text()).words
    assert "Cycles" in words
    for absent in ("Labels", "Scores by class", "Maps", "Left out", "Provenance"):
        assert absent not in words
    assert "Cycles" not in Reader(write_cycle_report(tmp_path / "b.html", {}, [], classes=CLASSES).read_text()).words


def test_the_page_of_an_image(tmp_path, sheet):
    cells = [
        {"cell": 1, "class": "Nucleoplasm", "score": 0.91, "area": 5000.0, "border": False},
        {"cell": 2, "class": "Nucleoplasm", "score": 0.71, "area": 7000.0, "border": True},
        {"cell": 3, "class": "", "score": None, "area": 6000.0, "border": False},
        {"cell": 4, "class": "Golgi <apparatus>", "score": 0.66, "area": 6100.0, "border": False},
    ]
    path = write_cells_report(
        tmp_path / "report.html", {"cells": 4}, cells, classes=CLASSES, overview=sheet, sheets={"": sheet}, image_scores={"Negative": 0.07}
    )  # fmt: skip
    page = Reader(path.read_text(encoding="utf-8"))
    for said in ("50.0 %", "25.0 %", "none", "0.810", "0.070", "Golgi <apparatus>", "Every cell"):
        assert said in page.words, said
    assert page.open == []


def test_an_image_without_cells_says_so(tmp_path):
    words = Reader(write_cells_report(tmp_path / "a.html", {"cells": 0}, [], classes=CLASSES).read_text()).words
    assert "No cell was found" in words
    assert "Every cell" not in words


def test_a_long_table_is_cut_and_says_so(tmp_path):
    cells = [{"cell": n, "class": "Negative", "score": 0.5} for n in range(1, 2001)]
    page = write_cells_report(tmp_path / "a.html", {}, cells, classes=CLASSES).read_text()
    assert "the first 500 of 2000" in page
    assert page.count("<tr>") < 520


def test_pictures_of_sixteen_bits_and_of_floats_agree():
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.random((40, 40)).astype(np.float32), (0, 0), 2)[None].repeat(4, 0)
    labels = (np.arange(1600).reshape(40, 40) > 800).astype(np.uint16)
    same = [outlined(a, labels, {1: "a"}, ["a"], side=40) for a in (image, (image * 60000).astype(np.uint16))]
    assert np.abs(pixels(same[0]).astype(int) - pixels(same[1])).max() <= 1
