import dataclasses

import cv2
import numpy as np
import pytest

from malpighi.errors import RecipeError
from malpighi.sampling.augment import PRESETS, AugmentOptions, augment

ALL = AugmentOptions(distort=0.2, chance=1.0)
DTYPES = [np.uint8, np.uint16, np.float32]


def batch(shape: tuple[int, ...], dtype: type = np.uint8, items: int = 2, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (items, channels, *shape)).astype(dtype)
    return images, (images[:, :1] > 127).astype(np.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "out"), [((20, 24), (20, 24)), ((21, 24), (14, 16)), ((6, 9, 8), (5, 8, 8))])
def test_no_change_returns_the_very_bits(dtype: type, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    images, targets = batch(shape, dtype)
    new, labels = augment(images, targets, PRESETS["none"], out, [1, 2])
    crop = (..., *(slice((n - o) // 2, (n - o) // 2 + o) for n, o in zip(shape, out, strict=True)))
    assert new.dtype == dtype
    np.testing.assert_array_equal(new, images[crop])
    np.testing.assert_array_equal(labels, targets[crop])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "out"), [((40, 48), (32, 32)), ((12, 24, 24), (8, 16, 16))])
def test_everything_at_once_is_finite_and_of_the_same_type(dtype: type, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    images, targets = batch(shape, dtype)
    targets[0, 0, :2] = 255
    new, labels = augment(images, targets, ALL, out, [3, 4])
    assert new.shape == (2, 3, *out)
    assert labels.shape == (2, 1, *out)
    assert new.dtype == dtype
    assert np.isfinite(new).all()
    assert new.std() > 1
    assert set(np.unique(labels)) <= {0, 1, 255}


@pytest.mark.parametrize("shape", [(40, 40), (8, 20, 20)])
def test_an_item_depends_on_its_seed_alone(shape: tuple[int, ...]) -> None:
    images, targets = batch(shape, items=4)
    out = tuple(n - 4 for n in shape)
    together, labels = augment(images, targets, ALL, out, [5, 6, 7, 8])
    again, _ = augment(images, targets, ALL, out, [5, 6, 7, 8])
    np.testing.assert_array_equal(together, again)
    for i in (3, 1):
        alone, label = augment(images[i : i + 1], targets[i : i + 1], ALL, out, [5 + i])
        np.testing.assert_array_equal(alone[0], together[i])
        np.testing.assert_array_equal(label[0], labels[i])
    other, _ = augment(images, targets, ALL, out, [9, 10, 11, 12])
    assert (other != together).any()


@pytest.mark.parametrize("shape", [(96, 96), (24, 48, 48)])
def test_image_and_target_stay_registered(shape: tuple[int, ...]) -> None:
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    disc = (np.square(np.array(axes) - 0.1).sum(0) < 0.4).astype(np.uint8)[None, None]
    options = AugmentOptions(distort=0.3, chance=1.0, tone=0, hue=0, saturation=0, stain=0, blur=0, noise=0)
    for seed in range(6):
        image, label = augment(disc * 200, disc, options, shape, [seed])
        a, b = image > 100, label > 0
        assert (a & b).sum() / (a | b).sum() > 0.96  # the surface alone differs: linear against nearest
        assert (label != disc).mean() > 0.005  # something moved


def test_memory_is_channels_last_and_views_of_it_are_read() -> None:
    images, targets = batch((24, 24))
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    a, _ = augment(images, targets, ALL, (16, 16), [1, 2])
    b, _ = augment(last, targets, ALL, (16, 16), [1, 2])
    np.testing.assert_array_equal(a, b)
    assert a.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(images, batch((24, 24))[0])  # the input is left as it was


def test_tensors_and_arrays_agree_but_for_noise() -> None:
    torch = pytest.importorskip("torch")
    images, _ = batch((64, 64), items=3)
    images = np.stack([cv2.GaussianBlur(i.transpose(1, 2, 0), (0, 0), 2).transpose(2, 0, 1) for i in images])
    targets = (images[:, :1] > 127).astype(np.uint8)
    options = dataclasses.replace(ALL, noise=0)
    a, la = augment(images, targets, options, (48, 48), [1, 2, 3])
    b, lb = augment(torch.from_numpy(images), torch.from_numpy(targets), options, (48, 48), [1, 2, 3])
    assert b.dtype == torch.uint8
    difference = np.abs(a.astype(int) - b.numpy())
    assert difference.max() <= 6
    assert difference.mean() < 1
    assert (la != lb.numpy()).mean() < 2e-3


def test_wrong_options_and_shapes_are_named() -> None:
    with pytest.raises(RecipeError, match=r"augment\.chance is 1\.5"):
        AugmentOptions(chance=1.5)
    with pytest.raises(RecipeError, match=r"augment\.noise"):
        AugmentOptions(noise=-1)
    with pytest.raises(RecipeError, match="outside"):
        AugmentOptions(outside="mirror")  # type: ignore[arg-type]
    images, targets = batch((20, 20))
    with pytest.raises(ValueError, match="out_size"):
        augment(images, targets, ALL, (24, 24), [1, 2])
    with pytest.raises(ValueError, match="seeds"):
        augment(images, targets, ALL, (20, 20), [1])


def test_importing_loads_neither_torch_nor_opencv() -> None:
    import subprocess
    import sys

    code = "import sys, malpighi.sampling.augment, malpighi.sampling.warp; print('torch' in sys.modules, 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"


@pytest.mark.parametrize(("shape", "out"), [((64, 64), (48, 48)), ((16, 32, 32), (12, 24, 24))])
def test_a_gpu_gives_what_the_cpu_gives(shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images, targets = (torch.from_numpy(a) for a in batch(shape))
    options = dataclasses.replace(ALL, noise=0)
    a, la = augment(images, targets, options, out, [1, 2])
    b, lb = augment(images.cuda(), targets.cuda(), options, out, [1, 2])
    assert b.is_cuda
    assert (a.int() - b.cpu().int()).abs().float().mean() < 0.1
    assert (la != lb.cpu()).float().mean() < 1e-3


def test_what_images_of_a_kind_cannot_be_given_is_refused() -> None:
    for name in ("clahe", "transfer", "match"):
        options = dataclasses.replace(PRESETS["none"], **{name: 1.0})
        for images, targets in (batch((20, 20), np.uint16), batch((20, 20), channels=4), batch((6, 20, 20))):
            with pytest.raises(RecipeError, match=rf"augment\.{name} = 1\.0"):
                augment(images, targets, options, images.shape[2:], [1, 2])
    with pytest.raises(RecipeError, match="for images, not volumes"):
        augment(*batch((6, 20, 20)), dataclasses.replace(ALL, mixup=0.5), (6, 20, 20), [1, 2])


@pytest.mark.parametrize("shape", [(20, 24), (6, 12, 12)])
def test_beyond_the_border_shares_are_nan_where_layers_are_255(shape: tuple[int, ...]) -> None:
    images, targets = batch(shape)
    options = dataclasses.replace(PRESETS["none"], shift=0.4, chance=1.0, outside="unlabelled")
    _, labels = augment(images, targets, options, shape, [1, 2])
    _, shares = augment(images, targets.astype(np.float32), options, shape, [1, 2])
    assert (labels == 255).any()
    np.testing.assert_array_equal(np.isnan(shares), labels == 255)
