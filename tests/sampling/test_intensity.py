import json

import numpy as np
import pytest

from malpighi.errors import DataError, RecipeError
from malpighi.geometry import Box
from malpighi.images.array import ArraySource
from malpighi.sampling.intensity import Intensity, IntensityOptions, measure_intensity, require_finite


def source(array: np.ndarray, name: str = "slide") -> ArraySource:
    return ArraySource(array, name=name)


def test_8_bit_rgb_takes_imagenets_constants() -> None:
    rgb = np.zeros((3, 8, 8), np.uint8)
    rgb[:, 0, 0] = 255
    found = measure_intensity([source(rgb)], IntensityOptions())
    values = found.apply(rgb, axis=0)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5)
    np.testing.assert_allclose(values[:, 1, 1], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5)


def test_16_bit_is_clipped_at_percentiles_channel_by_channel() -> None:
    ramp = np.arange(10_000, dtype=np.uint16).reshape(1, 100, 100)
    image = np.concatenate([ramp, ramp * 2])
    found = measure_intensity([source(image)], IntensityOptions(low=1, high=99))
    np.testing.assert_allclose(found.low, [100, 200], atol=8)
    np.testing.assert_allclose(found.high, [9900, 19800], atol=16)
    values = found.apply(image[None])
    assert values.min() == 0
    assert values.max() == 1
    assert values[0, 0, 50, 0] == pytest.approx(0.5, abs=0.002)


def test_measured_and_zscore() -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(300, 20, (1, 24, 64, 64)).astype(np.float32)
    volume[0, 0, 0, 0] = 1e6  # a hot voxel
    measured = measure_intensity([source(volume[:, 1:])], IntensityOptions(kind="measured"))
    assert measured.offset[0] == pytest.approx(300, abs=1)
    assert measured.scale[0] == pytest.approx(20, abs=0.5)
    scored = measure_intensity([source(volume)], IntensityOptions(kind="zscore"))
    values = scored.apply(volume[None])
    assert abs(values.mean()) < 0.05
    assert values.max() < 3


def test_fixed_range() -> None:
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
        image = np.full((1, 4, 4), white, dtype)
        assert measure_intensity([source(image)], IntensityOptions(kind="range")).apply(image[None]).max() == 1
    ct = np.array([[[-2000.0, -100.0, 300.0, 5000.0]]], np.float32)
    found = measure_intensity([source(ct)], IntensityOptions(kind="range", range=(-100, 300)))
    np.testing.assert_allclose(found.apply(ct[None])[0, 0, 0], [0, 0, 1, 1])


def test_constant_channel_is_not_divided_by_zero() -> None:
    image = np.full((1, 16, 16), 7, np.uint16)
    for kind in ("percentile", "measured", "zscore"):
        values = measure_intensity([source(image)], IntensityOptions(kind=kind)).apply(image[None])  # type: ignore[arg-type]
        np.testing.assert_array_equal(values, 0)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 4, 8, 8)])
def test_tensors_get_the_same_as_arrays(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    intensity = Intensity((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), (10.0,) * 3, (200.0,) * 3)
    got = intensity.apply(torch.from_numpy(batch))
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy(), intensity.apply(batch))


def test_survives_json_to_the_last_bit() -> None:
    image = np.random.default_rng(0).random((2, 30, 30)).astype(np.float32)
    found = measure_intensity([source(image)], IntensityOptions())
    assert Intensity.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    fixed = Intensity((0.0,), (1.0,))
    assert Intensity.from_dict(json.loads(json.dumps(fixed.as_dict()))) == fixed


def test_all_images_count_and_a_generator_will_do() -> None:
    images = [np.full((1, 32, 32), v, np.uint16) for v in (0, 100, 200)]
    found = measure_intensity((source(image) for image in images), IntensityOptions(kind="measured"))
    assert found.offset == (100.0,)


def test_memory_is_bounded_by_thinning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malpighi.sampling.intensity._MOST_VALUES", 500)
    images = [np.full((1, 64, 64), v, np.uint16) for v in (0, 100) * 10]
    found = measure_intensity((source(image) for image in images), IntensityOptions(kind="measured"))
    assert found.offset[0] == pytest.approx(50, abs=20)


def test_nan_names_image_box_and_place() -> None:
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 3, 4] = np.nan
    with pytest.raises(DataError, match=r"bad\.tif: 1 values in box \[0:20, 0:20\] are NaN .*\(3, 4\) in channel 0"):
        measure_intensity([source(image, "bad.tif")], IntensityOptions())
    with pytest.raises(DataError, match=r"\(13, 24\)"):
        require_finite(image, "x", Box((10, 20), (20, 20)))
    huge = np.full((1, 4, 4), 3e38, np.float32)
    assert require_finite(huge, "x", Box.of_shape((4, 4))) is huge


def test_wrong_use_is_named() -> None:
    gray, rgb = source(np.zeros((1, 8, 8), np.uint8)), source(np.zeros((3, 8, 8), np.uint8), "second")
    with pytest.raises(RecipeError, match="'imagenet' is for RGB"):
        measure_intensity([gray], IntensityOptions(kind="imagenet"))
    with pytest.raises(DataError, match="second: has 3 channels, the first image has 1"):
        measure_intensity([gray, rgb], IntensityOptions())
    with pytest.raises(DataError, match="no images"):
        measure_intensity([], IntensityOptions())
    with pytest.raises(DataError, match="image has 1 channels"):
        Intensity((0.0, 0.0), (1.0, 1.0)).apply(np.zeros((1, 1, 4, 4)))
    for wrong in ({"kind": "max"}, {"low": 50, "high": 50}, {"range": (3, 1)}):
        with pytest.raises(RecipeError, match="intensity"):
            IntensityOptions(**wrong)  # type: ignore[arg-type]
