import json
import os
from pathlib import Path

import numpy as np
import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box
from malpighi.images.array import ArraySource
from malpighi.images.open import open_image
from malpighi.images.scaled import ScaledSource
from malpighi.sampling.intensity import Intensity, IntensityOptions, measure_intensity
from malpighi.sampling.own_intensity import cache_folder, measure_image

rng = np.random.default_rng(0)
VOLUME = rng.integers(0, 5000, (2, 9, 40, 30)).astype(np.uint16)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    import tifffile

    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, VOLUME[0], photometric="minisblack", metadata={"axes": "ZYX"})
    return path


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["percentile", "zscore", "measured"])
def test_it_is_measured_on_every_voxel(dtype: type, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malpighi.sampling.own_intensity._BYTES", 1)
    array = (VOLUME.astype(float) - 900 * (np.dtype(dtype).kind != "u")).astype(dtype)  # negative where there are such
    found = measure_image(ArraySource(array), IntensityOptions(kind, 1, 99))  # type: ignore[arg-type]
    values = array.reshape(2, -1).astype(float)
    low, high = np.percentile(values, (1, 99), axis=1)
    clipped = np.clip(values, low[:, None], high[:, None])
    expected = {
        "percentile": (low, high - low, low, high),
        "zscore": (clipped.mean(1), clipped.std(1), low, high),
        "measured": (values.mean(1), values.std(1), (), ()),
    }[kind]
    for got, wanted in zip((found.offset, found.scale, found.low, found.high), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_progress_reaches_the_end_over_both_passes() -> None:
    for array in (VOLUME, VOLUME.astype(np.float32)):
        parts: list[float] = []
        measure_image(ArraySource(array), IntensityOptions(), on_progress=parts.append)
        assert parts[-1] == 1
        assert parts == sorted(parts)


def test_what_was_measured_is_remembered_until_image_or_options_change(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def measured(options: IntensityOptions = IntensityOptions()) -> tuple[Intensity, int]:  # noqa: B008
        calls: list[float] = []
        with open_image(stored) as source:
            return measure_image(source, options, on_progress=calls.append), len(calls)

    first, calls = measured()
    assert calls
    assert measured() == (first, 0)
    (file,) = (cache_folder() / "intensity").iterdir()
    for wrong in ("", "{", "[]", json.dumps({"key": {}, "intensity": {}}), file.read_text().replace("offset", "upset")):
        file.write_text(wrong)
        again, calls = measured()
        assert (again, bool(calls)) == (first, True)
        assert measured() == (first, 0)
    assert measured(IntensityOptions(low=5))[1]
    os.utime(stored, ns=(1, 1))
    assert measured()[1]


def test_a_cache_that_cannot_be_written_does_no_harm(stored: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with open_image(stored) as source:
        found = measure_image(source, IntensityOptions(), cache=blocked)
        assert found == measure_image(source, IntensityOptions(), cache=tmp_path / "good")


def test_nan_is_named() -> None:
    array = VOLUME[:1].astype(np.float32)
    array[0, 8, 3, 2] = np.nan
    with pytest.raises(DataError, match=r"kidney: 1 values .* \(8, 3, 2\) in channel 0"):
        measure_image(ArraySource(array, name="kidney"), IntensityOptions())


def test_fixed_kinds_read_nothing() -> None:
    rgb = ArraySource(np.zeros((3, 4, 4), np.uint8))
    for options in (IntensityOptions(), IntensityOptions("range", range=(0, 100), soft=0.1)):
        assert measure_image(rgb, options) == measure_intensity([rgb], options)
    with pytest.raises(RecipeError, match="RGB"):
        measure_image(ArraySource(VOLUME), IntensityOptions("imagenet"))


def test_soft_limits_by_hand() -> None:
    soft = Intensity((10.0,), (2.0,), (0.0,), (20.0,)).softened(0.1)
    values = np.array([[-10, 0, 10, 20, 40]], np.int16)
    np.testing.assert_allclose(soft.apply(values, axis=0), [[-5.5, -5, 0, 5, 6]], rtol=1e-6)
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(soft.apply(torch.from_numpy(values), axis=0).numpy(), [[-5.5, -5, 0, 5, 6]], rtol=1e-6)
    assert Intensity.from_dict(json.loads(json.dumps(soft.as_dict()))) == soft
    assert Intensity((0.0,), (1.0,)).softened(0.1).soft == ()
    sampled = measure_intensity([ArraySource(VOLUME)], IntensityOptions("zscore", soft=0.001))
    assert sampled.soft == (0.001, 0.001)
    for wrong in ({"soft": 1.0}, {"soft": -0.1}, {"per": "slice"}):
        with pytest.raises(RecipeError, match="intensity"):
            IntensityOptions(**wrong)  # type: ignore[arg-type]


def test_scaled_volumes_look_alike() -> None:
    options = IntensityOptions(low=0, high=100)
    bright = ArraySource(VOLUME * 3 + 7)
    scaled = [ScaledSource(source, measure_image(source, options)) for source in (ArraySource(VOLUME), bright)]
    box = Box((2, 3, 4), (5, 6, 7))
    a, b = (source.read(box) for source in scaled)
    assert a.dtype == scaled[0].dtype == np.float32
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(Intensity.identity(2).apply(a, axis=0), a)
