import itertools

import numpy as np
import pytest
import torch

from malpighi.errors import RecipeError
from malpighi.inference.backends import torch_forward
from malpighi.inference.slices import slices_forward
from malpighi.models.outputs import Outputs


class Raw:
    def apply(self, batch):
        return batch.float()


class Central(torch.nn.Module):
    """Logits are the m central slices themselves; notes what it was given."""

    rank = 3

    def __init__(self, k=3, m=1, stride=4):
        super().__init__()
        self.slices, self.stride = (k, m), (1, stride, stride)
        self.seen = []

    def forward(self, x):
        k, m = self.slices
        assert x.shape[2] == k
        assert all(n % s == 0 for n, s in zip(x.shape[2:], self.stride, strict=True))
        self.seen.append(tuple(x.shape))
        return Outputs(x[:, :, (k - m) // 2 : (k + m) // 2])


class Mixed(torch.nn.Module):
    """A small network of which no two slices, no two rows and no two columns are treated alike."""

    rank = 3

    def __init__(self, k=3, m=1, stride=4):
        super().__init__()
        torch.manual_seed(k + m)
        self.slices, self.stride = (k, m), (1, stride, stride)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(k, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2 * m, 1))

    def forward(self, x):
        found = self.body(x[:, 0])
        return Outputs(found.view(len(x), 2, self.slices[1], *found.shape[2:]))


def volume(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(2, 1, *shape)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.mark.parametrize("slices", [(1, 1), (3, 1), (3, 3), (5, 5), (5, 3)])
@pytest.mark.parametrize("flips", ["none", "flips", "d4"])
@pytest.mark.parametrize("axes", [("z",), ("y",), ("x",), ("z", "y", "x")])
def test_what_a_network_only_repeats_comes_back_in_its_place(slices, flips, axes):
    tiles = volume(6, 9, 7)
    found = slices_forward(Central(*slices), Raw(), axes, flips=flips)(tiles)
    assert (found.dtype, found.shape) == (np.float32, tiles.shape)
    np.testing.assert_allclose(found, sigmoid(tiles), rtol=1e-5)


def plainly(network, cube, axes, flips, average):
    """(class, z, y, x) by loops over axes, flips, runs and slices: what `slices_forward` should give."""
    k, m = network.slices
    step = network.stride[-1]
    total = 0
    for axis in axes:
        stack = np.moveaxis(cube, "zyx".index(axis), 0)
        out, times = np.zeros((2, *stack.shape)), np.zeros(len(stack))
        sides = [-n % step for n in stack.shape[1:]]
        lead = (k - m) // 2
        padded = np.pad(stack, [(lead, lead), (0, sides[0]), (0, sides[1])], mode="reflect")
        for first in range(len(stack) - m + 1):
            window = padded[first : first + k]
            mean = 0
            exchanges = (False, True) if flips == "d4" else (False,)
            mirrors = [()] if flips == "none" else [(), (-1,), (-2,), (-2, -1)]
            for exchange, mirror in itertools.product(exchanges, mirrors):
                turned = np.flip(window.swapaxes(-1, -2) if exchange else window, mirror)
                with torch.no_grad():
                    logits = network(torch.from_numpy(turned.copy())[None, None]).logits[0].numpy()
                back = np.flip(logits if average == "logit" else sigmoid(logits), mirror)
                mean = mean + (back.swapaxes(-1, -2) if exchange else back) / (len(exchanges) * len(mirrors))
            out[:, first : first + m] += mean[..., : stack.shape[1], : stack.shape[2]]
            times[first : first + m] += 1
        total = total + np.moveaxis(out / times[:, None, None], 1, 1 + "zyx".index(axis)) / len(axes)
    return sigmoid(total) if average == "logit" else total


@pytest.mark.parametrize("slices", [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("flips", ["none", "flips", "d4"])
@pytest.mark.parametrize("average", ["probability", "logit"])
def test_it_is_the_mean_that_plain_loops_take(slices, flips, average):
    network, tiles = Mixed(*slices), volume(5, 6, 7, seed=1)
    found = slices_forward(network, Raw(), ("z", "x", "y"), flips=flips, average=average)(tiles)
    for cube, mine in zip(tiles[:, 0], found, strict=True):
        np.testing.assert_allclose(mine, plainly(network, cube, ("z", "x", "y"), flips, average), atol=2e-6)


def test_passes_are_bounded_whatever_the_cube():
    network = Central(3, 3, stride=4)
    tiles = volume(20, 9, 7)
    whole = slices_forward(network, Raw(), pixels=10**6)(tiles)
    assert {shape[0] for shape in network.seen} == {18}
    network.seen.clear()
    parts = slices_forward(network, Raw(), pixels=5 * 12 * 8)(tiles)
    assert max(shape[0] for shape in network.seen) == 5
    np.testing.assert_array_equal(parts, whole)
    slices_forward(network, Raw(), pixels=1)(tiles)  # a window at least
    assert network.seen[-1] == (1, 1, 3, 12, 8)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 5, 1), (1, 1, 1)])
def test_cubes_thinner_than_the_slices_are_mirrored(shape):
    tiles = volume(*shape)
    found = slices_forward(Central(5, 5), Raw(), ("z", "y", "x"))(tiles)
    np.testing.assert_allclose(found, sigmoid(tiles), rtol=1e-5)


def test_an_answer_off_the_centre_is_refused():
    with pytest.raises(RecipeError, match="slices_out 2"):
        slices_forward(Central(3, 2), Raw())


def test_the_mean_of_logits_is_not_the_mean_of_probabilities():
    class Steps(torch.nn.Module):
        rank = 2

        def forward(self, x):  # large on the left of the image as it is given
            return Outputs(torch.where(torch.arange(x.shape[-1]) < x.shape[-1] // 2, 4.0, -2.0).expand(x.shape))

    tiles = np.zeros((1, 1, 4, 4), np.float32)
    np.testing.assert_allclose(torch_forward(Steps(), Raw(), flips="flips", average="logit")(tiles), sigmoid(np.float32(1)))
    mean = (sigmoid(np.float32(4)) + sigmoid(np.float32(-2))) / 2
    np.testing.assert_allclose(torch_forward(Steps(), Raw(), flips="flips")(tiles), mean, rtol=1e-6)


def test_classes_that_exclude_one_another_are_averaged_as_their_softmax():
    network = Mixed(k=3, m=1)
    x = volume(4, 8, 8)
    logits = [
        network(torch.from_numpy(np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0), (0, 0)), "reflect")[:, :, z : z + 3]))
        for z in range(4)
    ]
    powers = np.concatenate([np.exp(each.logits.detach().numpy().astype(np.float64)) for each in logits], axis=2)
    network.exclusive = True
    found = slices_forward(network, Raw())(x)
    np.testing.assert_allclose(found, powers / (1 + powers.sum(1, keepdims=True)), rtol=1e-5)


def test_slices_have_no_gate():
    with pytest.raises(RecipeError, match=r"predict\.gate = 0"):
        slices_forward(Mixed(), Raw(), gate=0.5)
