from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from images.contract import Opened, SourceContract
from images.pictures import noise, smooth
from malpighi.errors import DataError
from malpighi.geometry import Box
from malpighi.images import is_image, open_image
from malpighi.images.channels import (
    channel_files,
    group_channels,
    image_exists,
    image_files,
    image_stem,
)

NAMES = ("red", "green", "blue")


def write(folder: Path, stem: str, arrays: dict[str, np.ndarray], suffix: str = ".png") -> Path:
    for name, array in arrays.items():
        path = folder / f"{stem}_{name}{suffix}"
        if array.dtype == np.uint16:
            path.write_bytes(imagecodecs.png_encode(array))
        else:
            Image.fromarray(array).save(path)
    return folder / f"{stem}_{{{','.join(arrays)}}}{suffix}"


class TestChannels(SourceContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        arrays = {name: noise(40, 51, 3)[..., k] for k, name in enumerate(NAMES)}
        return open_image(write(tmp_path, "a", arrays)), np.stack(list(arrays.values()))


def test_the_names_are_the_channels_and_16_bits_stay(tmp_path: Path) -> None:
    arrays = {name: noise(9, 7, dtype=np.uint16) for name in ("yellow", "DAPI")}
    with open_image(str(write(tmp_path, "a", arrays))) as source:
        assert source.channels == ("yellow", "DAPI")
        assert source.dtype == np.uint16
        np.testing.assert_array_equal(source.read(Box.of_shape((9, 7))), list(arrays.values()))


@pytest.mark.parametrize(
    ("weights", "taken"), [((1, 1, 1), "red"), ((0, 1, 0), "green"), ((0, 0, 1), "blue"), ((1, 1, 0), "red")]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_gray_picture_in_colours_is_one_channel(tmp_path: Path, weights, taken, suffix) -> None:
    gray = smooth(48, 64)
    coloured = gray[..., None] * np.array(weights, np.uint8)
    with open_image(write(tmp_path, "a", {"red": coloured, "green": gray}, suffix)) as source:
        pixels = source.read(Box.of_shape((48, 64))).astype(int)
        assert any(f"{taken} is taken" in note for note in source.notes)
    assert np.abs(pixels[0] - gray).mean() <= (0 if suffix == ".png" else 4)


def test_a_picture_in_colours_is_no_channel(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a_red\.png: its 3 channels differ"):
        open_image(write(tmp_path, "a", {"red": noise(8, 8, 3), "green": noise(8, 8)}))


def test_a_missing_channel_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, "a", {name: noise(8, 8) for name in NAMES})
    (tmp_path / "a_green.png").unlink()
    with pytest.raises(DataError, match=r"without file: green \(a_green\.png\); there are a_red\.png, a_blue\.png"):
        open_image(path)
    with pytest.raises(DataError, match=r"does not exist: none of b_red\.png, b_blue\.png"):
        open_image(tmp_path / "b_{red,blue}.png")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (noise(8, 9), r"a_green\.png: is of size 8 × 9, a_red\.png of 8 × 8"),
        (noise(8, 8, dtype=np.uint16), r"a_green\.png: is of type uint16, a_red\.png of uint8"),
    ],
)
def test_channels_that_differ_name_both_files(tmp_path: Path, other, says) -> None:
    with pytest.raises(DataError, match=says):
        open_image(write(tmp_path, "a", {"red": noise(8, 8), "green": other}))


def test_an_unreadable_channel_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a", {name: noise(8, 8) for name in NAMES})
    (tmp_path / "a_blue.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a_blue\.png: is no PNG"):
        open_image(path)


def test_a_truncated_channel_is_filled_where_damage_may_be(tmp_path: Path) -> None:
    path = write(tmp_path, "a", {name: noise(64, 64) for name in ("red", "green")})
    file = tmp_path / "a_green.png"
    file.write_bytes(file.read_bytes()[:-2000])
    whole = Box.of_shape((64, 64))
    with open_image(path) as source, pytest.raises(DataError, match=r"a_green\.png: is truncated"):
        source.read(whole)
    with open_image(path, on_damage="fill") as source:
        pixels = source.read(whole)
        assert pixels[0].any()
        assert not pixels[1].any()
        assert "a_green.png" in str(source.damage[0])


def test_a_channel_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", {"red": noise(8, 8)})
    with pytest.raises(DataError, match="named twice"):
        open_image(tmp_path / "a_{red,red}.png")


def test_a_file_really_called_so_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "a_{red,green}.png"
    Image.fromarray(noise(8, 8)).save(path)
    assert open_image(path).channels == ("gray",)
    assert image_files(path) == (path,)
    assert channel_files(path) == {}


def test_files_of_a_path(tmp_path: Path) -> None:
    path = write(tmp_path, "a", {"red": noise(8, 8), "green": noise(8, 8)})
    assert is_image(path)
    assert image_files(path) == (tmp_path / "a_red.png", tmp_path / "a_green.png")
    assert channel_files(path)["green"] == tmp_path / "a_green.png"
    assert image_stem(path) == "a"
    (tmp_path / "a_red.png").unlink()
    assert image_exists(path)
    assert image_files(path) == (tmp_path / "a_green.png",)
    assert not image_exists(tmp_path / "b_{red,green}.png")
    assert image_files(tmp_path) == (tmp_path / "a_green.png",)
    assert image_files(tmp_path / "none.png") == ()


def test_files_of_one_image_are_grouped_and_others_stay_in_order() -> None:
    files = ["a_blue.png", "a_red.png", "b.png", "a_red.tif", "c_green.png", "a_yellow.png", "a_dapi.png"]
    paths = [Path("x") / name for name in files]
    assert [str(path) for path in group_channels(paths)] == [
        "x/a_{red,blue,yellow}.png", "x/b.png", "x/a_red.tif", "x/c_green.png", "x/a_dapi.png"
    ]  # fmt: skip
    assert str(group_channels(paths, ["DAPI"])[0]) == "x/a_{dapi,red,blue,yellow}.png"


def test_the_same_name_in_two_folders_is_two_images() -> None:
    paths = [Path(folder) / f"a_{name}.png" for folder in "xy" for name in ("red", "green")]
    assert [str(path) for path in group_channels(paths)] == ["x/a_{red,green}.png", "y/a_{red,green}.png"]


@pytest.mark.real_data
def test_a_real_image_of_four_files(real: Path) -> None:
    path = real / "single_cells" / "if" / "data" / "57_f11_1_{red,green,blue,yellow}.png"
    with open_image(path) as source:
        assert source.shape == (1728, 1728)
        box = Box((100, 200), (50, 60))
        expected = [np.asarray(Image.open(file))[box.slices] for file in channel_files(path).values()]
        np.testing.assert_array_equal(source.read(box), expected)
