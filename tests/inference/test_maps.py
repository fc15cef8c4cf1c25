"""Class maps against their definitions on networks small enough to know, and where a trained one looks."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from malpighi.inference import maps as maps_module
from malpighi.inference.maps import MapOptions, cell_maps, class_maps
from malpighi.models.classifier import Classifier, build_classifier
from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.models.label_losses import build_label_loss

SIDE = 32
ONE_VIEW = MapOptions(flips=False)


class Means(nn.Module):
    """An encoder whose features are the channels' means of blocks of 32; `shift` moves them one block to the right."""

    def __init__(self, shift: bool = False) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x):
        means = functional.avg_pool2d(x, SIDE)
        return functional.pad(means, (1, -1)) if self.shift else means


def linear(weights, bias=0.0, shift=False, **options) -> Classifier:
    """A classifier whose class maps are `weights` (class, channel) × blocks' means + bias."""
    weights = torch.as_tensor(weights, dtype=torch.float32)
    classes, channels = weights.shape
    network = Classifier(Means(shift), channels, channels, classes, ClassifierOptions(**options))
    network.head.weight.data = weights[:, :, None, None]
    nn.init.constant_(network.head.bias, bias)
    return network


def blocks(values) -> torch.Tensor:
    """An image (1, channel, y, x) of blocks that have these values."""
    return torch.as_tensor(values, dtype=torch.float32)[None].repeat_interleave(SIDE, -1).repeat_interleave(SIDE, -2)


def middles(maps):
    """The value at the middle of each block: between four pixels."""
    return (maps[..., SIDE // 2 - 1 :: SIDE, SIDE // 2 - 1 :: SIDE] + maps[..., SIDE // 2 :: SIDE, SIDE // 2 :: SIDE]) / 2


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=np.float64)))


VALUES = np.random.default_rng(0).uniform(0, 2, (3, 3, 4))
WEIGHTS = np.array([[2.0, -1.0, 0.5], [-1.0, 1.0, 1.0]])


def test_cam_is_what_the_network_says_place_by_place():
    maps = class_maps(linear(WEIGHTS, bias=-1), blocks(VALUES), ONE_VIEW)
    assert maps.shape == (1, 2, 96, 128)
    expected = sigmoid(np.einsum("ck,kyx->cyx", WEIGHTS, VALUES) - 1)
    np.testing.assert_allclose(middles(maps)[0], expected, atol=0.03)
    exact = class_maps(linear(WEIGHTS, bias=-1), blocks(np.ones((3, 2, 2))), ONE_VIEW)
    np.testing.assert_allclose(exact[0, :, 5, 7], sigmoid([0.5, 0.0]), rtol=1e-5)


def test_softmax_maps_share_each_place():
    network, x = linear(WEIGHTS), blocks(VALUES)
    maps = class_maps(network, x, ONE_VIEW, softmax=True)
    torch.testing.assert_close(maps.sum(1), torch.ones(1, 96, 128))
    assert not torch.allclose(maps, class_maps(network, x, ONE_VIEW))


def test_grad_cam_of_a_linear_network_is_cam():
    """Under average pooling the gradient is the head's weights / places: Grad-CAM is the positive part of CAM without bias."""
    cam = np.maximum(np.einsum("ck,kyx->cyx", WEIGHTS, VALUES), 0)
    likely = sigmoid(np.einsum("ck,k->c", WEIGHTS, VALUES.mean((1, 2))) - 1)
    expected = likely[:, None, None] * cam / cam.max((1, 2), keepdims=True)
    check("grad-cam", linear(WEIGHTS, bias=-1), expected)


def test_grad_cam_plus_plus_is_its_definition():
    """With log-mean-exp pooling the gradient differs from place to place: head's weight × softmax of the map."""
    cam = np.einsum("ck,kyx->cyx", WEIGHTS, VALUES)
    shares = np.exp(cam) / np.exp(cam).sum((1, 2), keepdims=True)
    expected = []
    for c in range(2):
        gradient = WEIGHTS[c][:, None, None] * shares[c]
        alpha = gradient**2 / (2 * gradient**2 + VALUES.sum((1, 2))[:, None, None] * gradient**3)
        weights = (alpha * np.maximum(gradient, 0)).sum((1, 2))
        seen = np.maximum(np.einsum("k,kyx->yx", weights, VALUES), 0)
        expected.append(sigmoid(np.log(np.exp(cam[c]).mean())) * seen / seen.max())
    check("grad-cam++", linear(WEIGHTS, pooling="lse"), np.array(expected))


def check(method, network, expected):
    """The coarse maps, before they are resized, are these; and those of all resolutions are their bilinear resizing."""
    maps = class_maps(network, blocks(VALUES), MapOptions(method, flips=False))
    resized = functional.interpolate(torch.as_tensor(expected, dtype=torch.float32)[None], maps.shape[2:], mode="bilinear")
    torch.testing.assert_close(maps, resized, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_gradients_of_a_masked_network_see_the_mask(method):
    """Only the left half is pooled: its mean decides how likely the class is."""
    x, masks = blocks([[[0.0, 3.0], [0.0, 3.0]]]), torch.zeros(1, 1, 64, 64)
    masks[..., :32] = 1
    maps = class_maps(linear([[1.0]], masked=True), x, MapOptions(method, flips=False), masks=masks)
    assert maps.max().item() == pytest.approx(0.5)


def test_views_are_averaged_and_turned_back():
    """Features one block too far to the right, and mirrored one too far to the left: both lie in the mean."""
    values = np.zeros((1, 1, 5))
    values[..., 2] = 1
    once = class_maps(linear([[20.0]], bias=-10, shift=True), blocks(values), ONE_VIEW)
    both = class_maps(linear([[20.0]], bias=-10, shift=True), blocks(values), MapOptions(flips=True))
    np.testing.assert_allclose(middles(once)[0, 0, 0], [0, 0, 0, 1, 0], atol=0.05)
    np.testing.assert_allclose(middles(both)[0, 0, 0], [0, 0.5, 0, 0.5, 0], atol=0.05)


@pytest.mark.parametrize("sides", [(128, 256), (120, 230)])
def test_other_scales_see_the_same_place(sides):
    image = torch.zeros(1, 1, *sides)
    image[..., :64, 128:] = 1
    for scales in [(1.0,), (0.5,), (2.0,), (0.75, 1.0, 1.5)]:
        maps = class_maps(linear([[20.0]], bias=-10), image, MapOptions(scales=scales))
        assert maps.shape == (1, 1, *sides)
        assert maps[0, 0, 16, 200] > 0.9
        assert maps[0, 0, 16, 40] < 0.1
        assert maps[0, 0, 110, 200] < 0.1


def test_what_was_filled_up_does_not_move_the_map():
    """An image of 40 × 72 is filled up to 64 × 96: the bright first block stays the first 32 pixels."""
    image = torch.zeros(1, 1, 40, 72)
    image[..., :32, :32] = 1
    whole = torch.zeros(1, 1, 64, 96)
    whole[..., :32, :32] = 1
    network = linear([[20.0]], bias=-10)
    torch.testing.assert_close(class_maps(network, image, ONE_VIEW), class_maps(network, whole, ONE_VIEW)[..., :40, :72])


@pytest.mark.parametrize("method", ["cam", "grad-cam", "grad-cam++"])
@pytest.mark.parametrize("inference", [False, True])
def test_classes_are_chosen_in_order_and_the_network_is_left_as_it_was(method, inference):
    torch.manual_seed(0)
    network = build_classifier(ClassifierOptions("resnet10t", "never", dropout=0.5, attention="cbam"), 2, 4).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, options = torch.rand(2, 2, 64, 64), MapOptions(method)
    with torch.inference_mode(inference):
        images = images + 0  # under inference_mode a tensor that autograd cannot save
        maps = class_maps(network, images, options)
        chosen = class_maps(network, images, options, [3, 1])
    assert maps.min() >= 0
    assert maps.max() <= 1
    torch.testing.assert_close(chosen, maps[:, [3, 1]])
    assert network.training
    assert not maps.requires_grad
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_wrong_channels_say_which():
    with pytest.raises(ValueError, match=r"\(batch, 3, y, x\)"):
        class_maps(linear(WEIGHTS), torch.zeros(1, 4, 64, 64), ONE_VIEW)


def squares(count, generator):
    """Noise of 96 × 96, in half of the images with a brighter square of 32, and where its corner is."""
    images = torch.rand(count, 1, 96, 96, generator=generator)
    present = torch.arange(count) % 2
    corners = torch.randint(0, 65, (count, 2), generator=generator)
    for image, there, (y, x) in zip(images, present, corners.tolist(), strict=True):
        image[:, y : y + 32, x : x + 32] += float(there)
    return images, present.float()[:, None], corners


def test_taught_whether_a_square_is_there_it_says_where():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    widths = (1, 8, 16, 16, 16)
    halvings = [halving for a, b in pairwise(widths) for halving in (nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())]
    options = ClassifierOptions(stride=16, pooling="average+max")
    network = Classifier(nn.Sequential(*halvings), 16, 1, 1, options, origin=0)
    loss, optimiser = build_label_loss(LabelLossOptions()), torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        images, present, _ = squares(16, generator)
        loss(network(images), present).backward()
        optimiser.step()
        optimiser.zero_grad()
    images, present, corners = squares(64, generator)
    for method in ("cam", "grad-cam", "grad-cam++"):
        maps = class_maps(network, images, MapOptions(method, flips=False))
        there, corner = maps[1::2, 0], corners[1::2]
        highest = torch.stack(torch.unravel_index(there.flatten(1).argmax(1), (96, 96)), 1)
        within = ((highest >= corner) & (highest < corner + 32)).all(1)
        assert within.float().mean() >= 0.9
        centres = torch.stack([(there.sum(axis) * torch.arange(96)).sum(1) / there.sum((1, 2)) for axis in (2, 1)], 1)
        assert (centres - corner - 15.5).mean(0).abs().max() < 5  # half a stride would be 7.5
        assert there.amax((1, 2)).mean() > 0.8
        assert maps[::2].amax((1, 2, 3)).mean() < 0.2


@dataclass
class Cells:
    """As `CellData`: four images, of which the second has no cells and the third one that lost its pixels."""

    image_ids: tuple[str, ...] = ("a", "b", "c", "d")
    number: np.ndarray = field(default_factory=lambda: np.array([1, 2, 1, 2, 4], np.int32))
    first: tuple[int, ...] = (0, 2, 2, 4, 5)

    def image(self, i):
        return np.full((1, 64, 64), 1000 * i, np.uint16) * (np.arange(64) >= 32).astype(np.uint16)

    def labels(self, i):
        labels = np.zeros((64, 64), np.uint16)
        if i != 1:
            labels[:, 8:24] = self.number[self.first[i]]
        if i == 0:
            labels[:, 48:] = 2
        return labels

    def cells_of(self, i):
        return slice(self.first[i], self.first[i + 1])


@pytest.mark.parametrize("pooling", ["mean", "max", "top"])
@pytest.mark.parametrize("batch", [1, 3])
def test_cells_get_what_lies_in_them(pooling, batch, monkeypatch):
    data, done = Cells(), []
    if batch == 3:
        monkeypatch.setattr(maps_module, "MOST", 2 * 2 * 64 * 64)  # so that two images of two classes fit
    network = linear([[8.0], [-8.0]], bias=0, masked=True)

    def prepare(raw):
        return raw.float() / 1000 + 0.25 * (torch.arange(64) < 32)

    options = MapOptions(flips=False, pooling=pooling)
    scores = cell_maps(network, prepare, data, options, batch=batch, on_progress=done.append)
    assert scores.dtype == np.float32
    assert scores.shape == (5, 2)
    assert done == ([1, 1, 1, 1] if batch == 1 else [1, 2, 1])  # the image without cells, then batches
    assert scores[3].tolist() == [0, 0]  # cell 2 of the third image has no pixel
    np.testing.assert_allclose(scores[1], [0.5, 0.5], atol=1e-4 if pooling == "mean" else 0.2)
    for row, i in ((0, 0), (2, 2), (4, 3)):
        maps = class_maps(network, prepare(torch.from_numpy(data.image(i).astype(np.int32)))[None], options)[0]
        inside = maps[:, :, 8:24].flatten(1).sort(1).values
        top = {"mean": inside, "max": inside[:, -1:], "top": inside[:, -102:]}[pooling]
        np.testing.assert_allclose(scores[row], top.mean(1), rtol=1e-4)


def test_places_lie_where_the_encoder_looks():
    """Of an encoder centred on pixels 0, 32, 64 a place shows its whole value there, and half of it 16 px aside."""
    network = linear([[1.0]])
    network.origin = 0
    x = blocks([[[0.0, 8.0, 0.0]]])
    maps = class_maps(network, x, MapOptions("grad-cam", flips=False))[0, 0, 5]
    top = float(sigmoid(8 / 3))
    np.testing.assert_allclose(maps[[0, 16, 32, 48, 64, 95]], [0, top / 2, top, top / 2, 0, 0], rtol=1e-5)
