"""Sheets and browsers of slices: which are chosen, what lights up, what the page holds."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from malpighi.annotations.masks import MaskAnnotation
from malpighi.errors import DataError
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.reports.html import Report
from malpighi.reports.slices import choose_slices, light_up, slice_browser, slice_sheet
from malpighi.reports.volume import AGREED, COLORS, EXCESS, MISSED, SILENT, code_colors, read_view


def volume(shape=(6, 20, 30), spacing=(5, 1, 1)):
    rng = np.random.default_rng(1)
    source = ArraySource.gray(rng.integers(0, 4000, shape).astype(np.uint16), Spacing.um(spacing, 3))
    truth, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    truth[3, 4:12], prediction[3, 8:16] = 1, 1
    masks = {}
    for name, array in {"truth": truth, "prediction": prediction}.items():
        annotation = MaskAnnotation(ArraySource.gray(array), source.space, ("vessel",))
        masks[name] = lambda box, at, a=annotation: a.rasterise(box, at)[0]
    return source, masks


def data_of(html):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', str(html), re.DOTALL)[1])


def test_fullest_and_even_slices():
    codes = np.zeros((9, 2, 2), np.uint8)
    codes[1], codes[5, 0] = AGREED, MISSED
    codes[8] = SILENT  # says nothing
    assert choose_slices(codes, 0, 3) == [1, 5, 7]
    assert choose_slices(codes, 0, 3, "even") == [1, 4, 7]
    assert choose_slices(codes, 1, 8) == [0, 1]


def test_every_code_glows_in_its_colour():
    codes = np.array([[0, AGREED, MISSED, EXCESS]], np.uint8)
    shown = light_up(np.zeros((1, 4, 3), np.uint8), codes, code_colors(("truth", "prediction")), fill=1.0)
    assert shown[0, 0].tolist() == [0, 0, 0]
    assert [tuple(shown[0, code]) for code in (AGREED, MISSED, EXCESS)] == [COLORS[code] for code in (AGREED, MISSED, EXCESS)]


def test_sheet_in_true_proportions_with_names_and_a_scale():
    source, masks = volume()
    figure = slice_sheet(source, masks, read_view(source, masks), axis="y", count=4)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 4
    assert {axes.get_aspect() for axes in shown} == {5.0}  # z is five times x
    assert shown[0].get_title(loc="left") == "y 4.50 µm"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["right", "missed", "too much"]
    assert shown[0].texts[0].get_text() == "5 µm"


def test_sheet_of_an_image_alone_and_of_an_unknown_axis():
    source, _ = volume()
    view = read_view(source, {})
    assert not slice_sheet(source, {}, view).legends
    with pytest.raises(DataError, match="axis 't'"):
        slice_sheet(source, {}, view, axis="t")


def test_browser_holds_every_slice_of_every_axis():
    source, masks = volume()
    data = data_of(slice_browser(read_view(source, masks), "a <volume>"))
    assert [plane["axis"] for plane in data["planes"]] == ["z", "y", "x"]
    assert [len(plane["images"]) for plane in data["planes"]] == [6, 20, 30]
    assert [(plane["width"], plane["height"]) for plane in data["planes"]] == [(30, 20), (30, 30), (20, 30)]
    assert data["planes"][0]["at"][:2] == [2.5, 7.5]
    assert data["planes"][0]["first"] == 3
    assert data["title"] == "a <volume>"
    codes = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["planes"][0]["masks"][3]))))
    assert codes[:, 0].tolist() == [0] * 4 + [MISSED] * 4 + [AGREED] * 4 + [EXCESS] * 4 + [0] * 4
    assert data["planes"][0]["masks"][0] == ""  # nothing there


def test_browser_keeps_to_its_size_by_showing_fewer_slices():
    source, masks = volume((40, 64, 64))
    view = read_view(source, masks)
    whole, small = slice_browser(view), slice_browser(view, megabytes=len(slice_browser(view)) / 2e6)
    assert len(small) <= len(whole) / 2
    assert len(data_of(small)["planes"][0]["images"]) < 40


def test_a_page_gets_the_script_only_where_it_has_a_browser(tmp_path):
    source, masks = volume()
    plain = Report("plain").section("A").text("no view").html()
    page = Report("p").section("A").figure(slice_browser(read_view(source, masks)), "Slices").html()
    assert "data-view" in page
    assert "getImageData" in page
    assert "getImageData" not in plain
    assert 'id="plotly"' not in page
    assert not re.search(r'(src|href)="https?:', page)


def test_a_name_cannot_break_out_of_the_page():
    source, masks = volume()
    held = slice_browser(read_view(source, masks), "</script><b>")
    assert "</script><b>" not in held
    assert data_of(held)["title"] == "</script><b>"
