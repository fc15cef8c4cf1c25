"""Rows of tiles: sizes, outlines, names."""

import numpy as np

from malpighi.reports.augmentations import Row, augmentations_report, contact_sheet, strip
from malpighi.reports.colors import class_colors

COLORS = class_colors(["tuft"])


def row(name: str, target: np.ndarray) -> Row:
    image = np.full((3, 64, 64), 200, np.uint8)
    return Row(name, f"{name} = 1", [image, image], [target, target])


def test_tiles_are_enlarged_and_their_masks_outlined() -> None:
    target = np.zeros((1, 64, 64), np.uint8)
    target[0, 16:48, 16:48] = 1
    target[0, :8] = 255
    picture = strip(row("tone", target), COLORS)
    assert picture.shape == (256, 2 * 256 + 6, 3)
    edge = (picture[:, :256] == COLORS["tuft"]).all(-1)
    assert edge[64:66, 64:192].all()
    assert not edge[80:170, 80:170].any()
    assert not edge[:40].any()
    np.testing.assert_array_equal(picture[128, 128], [200] * 3)  # the inside keeps its colour


def test_shares_of_a_half_and_more_are_inside() -> None:
    target = np.full((1, 64, 64), 0.4, np.float32)
    target[0, 16:48, 16:48] = 0.5
    target[0, :8] = np.nan
    picture = strip(row("mixup", target), COLORS)
    edge = (picture[:, :256] == COLORS["tuft"]).all(-1)
    assert edge[64, 64:192].all()
    assert not edge[:60].any()


def test_page_and_sheet_hold_every_row() -> None:
    target = np.zeros((1, 64, 64), np.uint8)
    rows = [row(name, target) for name in ("as read", "tone", "all together", "all together")]
    assert contact_sheet(rows, COLORS).shape == (4 * (256 + 26), 518, 3)
    page = augmentations_report(rows, ["a", "b"], ["tuft"], "recipe x", "data").html()
    assert page.count("<img") == 4
    assert page.count("<h2") == 3
    assert "recipe x on data" in page
    assert "<dt>transforms</dt><dd>1</dd>" in page  # the tone
