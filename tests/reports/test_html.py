"""The page builder: what goes in comes out, escaped, in one file that asks for no other."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from malpighi.errors import DataError, OutputError
from malpighi.reports.embed import png
from malpighi.reports.html import Report
from reports.page import Reader


def plot() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().plot([1, 2], label="<line>")
    figure.axes[0].legend()
    return figure


def full_page() -> str:
    report = Report("run", "a `command` and <tags>")
    report.facts({"Dice": 0.9})
    report.warning("careful")
    report.section("First", "intro").text("words").code("malpighi x", fold="more").facts({"a": 1}, fold="closed")
    report.table([{"class": "a", "n": 1}], colors={"a": (1, 2, 3)}, caption="caption").figure(plot(), "a plot")
    report.section("Second").figures({"one": plot(), "two": plot()})
    return report.html()


def test_page_is_balanced_and_needs_no_other_file():
    page = full_page()
    reader = Reader(page)
    assert reader.open == []
    assert not any(tag in ("script", "link", "iframe") for tag, _ in reader.tags)
    sources = [value for _, attrs in reader.tags for key, value in attrs.items() if key in ("src", "href", "xlink:href")]
    assert sources
    assert all(value.startswith(("data:", "#")) for value in sources)
    assert "url(http" not in page
    assert "@import" not in page


def test_contents_lead_to_the_sections():
    reader = Reader(full_page())
    targets = [attrs["href"] for tag, attrs in reader.tags if tag == "a"]
    anchors = [attrs["id"] for tag, attrs in reader.tags if tag == "section"]
    assert targets == ["#first", "#second"]
    assert anchors == ["first", "second"]


def test_sections_of_one_name_get_their_own_anchors():
    report = Report("x").section("Scores").section("Scores").section("–")
    assert [section.anchor for section in report.sections] == ["top", "scores", "scores-2", "section"]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30))
def test_any_text_comes_out_as_text(text):
    evil = f"<script>{text}</script>&\"'"
    report = Report(evil, evil).section(evil, evil).text(evil).code(evil).warning(evil).facts({evil: evil})
    report.table([{evil: evil}], caption=evil)
    reader = Reader(report.html())
    assert reader.open == []
    assert not any(tag == "script" for tag, _ in reader.tags)
    assert "<script>" in reader.words


def test_backticks_set_code_and_stay_escaped():
    page = Report("x").section("s").text("run `a < b` now").html()
    assert "run <code>a &lt; b</code> now" in page


def test_table_takes_mappings_with_gaps_and_sequences():
    cells = Reader(Report("x").section("s").table([{"a": 1}, {"b": 2.0}]).html()).cells()
    start = cells.index("a")
    assert cells[start : start + 6] == ["a", "b", "1", "–", "–", "2.00"]
    assert "seven" in Reader(Report("x").section("s").table([["seven", 8]], ["p", "q"]).html()).words


def test_no_facts_leave_no_empty_frame():
    assert "<dl" not in Report("x").facts({}).html()


def test_numbers_stand_right_and_words_left():
    page = Report("x").section("s").table([{"name": "a", "dice": 0.5, "interval": "0.4 – 0.6", "why": "3-D or not"}]).html()
    headings = re.findall(r'<th scope="col"( class="number")?>(\w+)</th>', page)
    assert {name: bool(number) for number, name in headings} == {"name": False, "dice": True, "interval": True, "why": False}


def test_small_png_is_embedded_as_it_is_and_large_as_webp():
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().imshow(np.zeros((4, 4)))
    small = png(figure, dpi=50)
    page = Report("x").figure(small).html()
    assert base64.b64encode(small).decode() in page
    noise = Figure(figsize=(4, 4))
    noise.add_axes((0, 0, 1, 1)).imshow(np.random.default_rng(0).random((400, 400)), cmap="gray")
    large = png(noise)
    assert len(large) > 150_000
    page = Report("x").figure(large).html()
    assert "data:image/webp" in page
    assert len(page) < len(large)


def test_plots_follow_the_page_and_pictures_are_pixels():
    page = Report("x").figure(plot(), 'say "hi"').html()
    assert '<svg role="img" aria-label="say &#34;hi&#34;"' in page
    assert "&lt;line&gt;" in page
    image = Figure()
    image.add_subplot().imshow(np.zeros((2, 2)))
    assert "data:image/png" in Report("x").figure(image).html()


def test_same_plot_gives_the_same_bytes():
    assert Report("x").figure(plot()).sections[0].blocks == Report("x").figure(plot()).sections[0].blocks


def test_bytes_that_are_no_picture_are_refused():
    with pytest.raises(DataError, match=r"'graph'.*no PNG"):
        Report("x").figure(b"not a picture", "graph")


def test_write_makes_folders_and_leaves_one_file(tmp_path: Path):
    path = Report("x").write(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_mode & 0o444 == 0o444


def test_failed_write_names_the_file_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        Report("x").write(tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
