import dataclasses

import numpy as np
import pytest
from skimage.color import rgb2yiq

from malpighi.sampling.augment import PRESETS, AugmentOptions
from malpighi.sampling.colour import Colour, apply_colour, draw_colour, toned
from malpighi.sampling.seeds import stream

NONE = dataclasses.replace(PRESETS["none"], chance=1.0)


def changed(image: np.ndarray, colour: Colour) -> np.ndarray:
    image = image.copy()
    apply_colour(image, colour)
    return image


def rgb(seed: int = 0, side: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def test_identity_maps_change_nothing() -> None:
    np.testing.assert_array_equal(changed(rgb(), Colour(np.eye(3, 4), np.eye(3, 4))), rgb())
    np.testing.assert_array_equal(changed(rgb(), Colour(np.eye(1, 2), np.eye(1, 2))), rgb())


def test_contrast_about_mid_grey_and_gain_are_what_they_say() -> None:
    image = np.array([[[0, 100, 200]]], np.uint8)
    half = changed(image, Colour(linear=np.array([[0.5, 0.25]])))
    np.testing.assert_array_equal(half, [[[64, 114, 164]]])  # 127.5 + (v - 127.5) / 2
    brighter = changed(image, Colour(density=np.array([[1.0, -np.log(1.2)]])))
    np.testing.assert_array_equal(brighter, [[[0, 120, 240]]])


@pytest.mark.parametrize("part", ["tone", "hue", "stain"])
@pytest.mark.parametrize("seed", range(4))
def test_fast_8_bit_way_equals_the_plain_formula(part: str, seed: int) -> None:
    colour = draw_colour(stream(seed), dataclasses.replace(NONE, **{part: 0.1, "tone": 0.2}), 3)
    image = rgb(seed, 80)
    plain = toned(image.reshape(-1, 3).T.astype(np.float32) / 255, colour, np).T.reshape(image.shape) * 255
    fast = changed(image, colour)
    # where the gain saturates, the table has clipped before the hue's matrix; elsewhere only rounding differs
    gained = toned(image.reshape(-1, 3).T.astype(np.float32) / 255, Colour(colour.density), np).T.reshape(image.shape)
    kept = ((gained >= 0) & (gained <= 1)).all(-1)
    assert np.abs(fast - np.clip(plain, 0, 255))[kept].max() <= 2
    assert kept.mean() > 0.3


def test_hue_keeps_greys_and_luma() -> None:
    colour = draw_colour(stream(3), dataclasses.replace(NONE, hue=0.1, saturation=0.4), 3)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    np.testing.assert_array_equal(changed(grey, colour), grey)
    image = np.clip(rgb(), 90, 160)  # no clipping
    luma = [rgb2yiq(x / 255)[..., 0] for x in (image, changed(image, colour))]
    np.testing.assert_allclose(*luma, atol=0.01)
    assert (changed(image, colour) != image).any()


def test_a_strong_hue_turns_no_further_than_it_says() -> None:
    from malpighi.sampling.colour import _YIQ

    options = dataclasses.replace(NONE, hue=0.3, saturation=1.2)  # it ends at grey
    for seed in range(60):
        turned = _YIQ @ draw_colour(stream(seed), options, 3).linear[:, :3] @ np.linalg.inv(_YIQ)  # type: ignore[index]
        assert abs(np.degrees(np.arctan2(turned[2, 1], turned[1, 1]))) <= 0.3 * 360 + 1e-6


def test_hue_and_saturation_are_two_numbers() -> None:
    """In the chroma plane one turns and keeps lengths, the other scales and keeps angles."""
    from malpighi.sampling.colour import _YIQ

    def chroma(**strengths: float) -> np.ndarray:
        linear = draw_colour(stream(5), dataclasses.replace(NONE, **strengths), 3).linear
        return (_YIQ @ linear[:, :3] @ np.linalg.inv(_YIQ))[1:, 1:]  # type: ignore[index]

    np.testing.assert_allclose(np.linalg.det(chroma(hue=0.1)), 1, atol=1e-6)
    scaled = chroma(saturation=0.4)
    np.testing.assert_allclose(scaled, scaled[0, 0] * np.eye(2), atol=1e-6)
    assert 0.01 < abs(scaled[0, 0] - 1) <= 0.4


def test_stain_jitter_scales_one_dye_along_its_vector() -> None:
    from malpighi.sampling.colour import _STAINS

    image = np.round(255 * np.exp(-0.5 * _STAINS[0])).astype(np.uint8)[None, None]  # haematoxylin alone
    mixed = np.linalg.inv(_STAINS) @ np.diag([1.5, 1, 1]) @ _STAINS
    got = changed(np.broadcast_to(image, (4, 4, 3)).copy(), Colour(density=np.column_stack([mixed.T, np.zeros(3)])))
    np.testing.assert_allclose(got[0, 0], 255 * np.exp(-0.75 * _STAINS[0]), atol=2)


def test_noise_has_the_stated_spread_and_saturates() -> None:
    image = np.full((300, 300, 3), 128, np.uint8)
    noisy = changed(image, Colour(noise=0.04, seed=1)).astype(int) - 128
    assert noisy.std() == pytest.approx(0.04 * 255, rel=0.03)
    assert abs(noisy.mean()) < 0.1
    assert len(np.unique(noisy)) > 40
    black = changed(np.zeros((64, 64, 3), np.uint8), Colour(noise=0.04, seed=1))
    white = changed(np.full((64, 64, 3), 255, np.uint8), Colour(noise=0.04, seed=1))
    assert black.max() < 40
    assert white.min() > 215
    assert (black == 0).mean() > 0.4
    assert (changed(image, Colour(noise=0.04, seed=2)) != changed(image, Colour(noise=0.04, seed=1))).any()


@pytest.mark.parametrize("side", [5, 90, 300])  # values of the last are worked in three strips
def test_noise_of_a_tile_does_not_repeat(side: int) -> None:
    noisy = changed(np.full((side, side, 3), 128, np.uint8), Colour(noise=0.04, seed=1)).ravel().astype(float) - 128
    size = 1 << (2 * noisy.size).bit_length()
    alike = np.fft.irfft(np.abs(np.fft.rfft(noisy, size)) ** 2)[8 : noisy.size - 8]  # sums of products, by distance
    counts = noisy.size - np.arange(8, noisy.size - 8)
    assert np.abs(alike / np.sqrt(counts)).max() < 6 * noisy.var()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types_use_their_own_range(dtype: type) -> None:
    image = (np.random.default_rng(0).random((30, 30, 4)) * 4000 + 100).astype(dtype)
    halved = changed(image, Colour(linear=np.array([[0.5, 0.25]])))
    assert halved.dtype == dtype
    middle = (float(image.min()) + float(image.max())) / 2
    np.testing.assert_allclose(halved, (image.astype(float) + middle) / 2, atol=1)
    flat = np.full((8, 8, 1), 7, dtype)
    np.testing.assert_array_equal(changed(flat, draw_colour(stream(0), AugmentOptions(chance=1.0), 1)), flat)


def test_hue_and_stain_are_for_rgb_only() -> None:
    for channels in (1, 2, 4):
        colour = draw_colour(stream(0), dataclasses.replace(NONE, hue=0.1, stain=0.1), channels)
        assert colour.density is None
        assert colour.linear is None


@pytest.mark.parametrize("shape", [(20, 24), (6, 10, 12)])
def test_blur_on_tensors_is_the_separable_gaussian(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    from scipy.ndimage import gaussian_filter

    from malpighi.sampling.colour_torch import apply_colour as on_tensors

    image = np.random.default_rng(0).random((1, 2, *shape)).astype(np.float32)
    got = on_tensors(torch.from_numpy(image), [Colour(blur=1.0)])[0].numpy()
    for channel, values in enumerate(image[0]):
        np.testing.assert_allclose(got[channel], gaussian_filter(values, 1.0, mode="mirror", radius=2), atol=1e-5)


def test_clahe_is_opencvs_on_lightness() -> None:
    import cv2

    image = cv2.GaussianBlur(rgb(1, 96), (0, 0), 3)
    got = changed(image, Colour(clahe=2.0))
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lightness = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
    np.testing.assert_array_equal(got, cv2.cvtColor(np.dstack([lightness, lab[..., 1:]]), cv2.COLOR_LAB2RGB))
    assert got.std() > 1.2 * image.std()
    grey = np.ascontiguousarray(image[..., :1])
    np.testing.assert_array_equal(changed(grey, Colour(clahe=2.0))[..., 0], cv2.createCLAHE(2.0, (8, 8)).apply(grey[..., 0]))


def test_clahe_on_tensors_is_the_same() -> None:
    torch = pytest.importorskip("torch")
    from malpighi.sampling.colour_torch import apply_colour as on_tensors

    image = rgb(2, 64)
    got = on_tensors(torch.from_numpy(image.transpose(2, 0, 1).copy())[None], [Colour(clahe=3.0)])[0].numpy()
    np.testing.assert_array_equal(got.transpose(1, 2, 0), changed(image, Colour(clahe=3.0)))


def test_new_transforms_leave_the_draws_of_the_others_as_they_were() -> None:
    plain = AugmentOptions(chance=1.0)
    more = dataclasses.replace(plain, clahe=2.0, cutout=0.2)
    a, b = draw_colour(stream(4), plain, 3), draw_colour(stream(4), more, 3)
    np.testing.assert_array_equal(a.density, b.density)
    assert (a.blur, a.noise, a.seed) == (b.blur, b.noise, b.seed)
    assert 1 <= b.clahe <= 2
    assert a.holes is None
    assert b.holes is not None
