import numpy as np
import pytest

torch = pytest.importorskip("torch")

from inference.toys import ArraySource, collect  # noqa: E402
from malpighi.errors import RecipeError  # noqa: E402
from malpighi.geometry import Box  # noqa: E402
from malpighi.inference.backends import symmetries, torch_forward  # noqa: E402
from malpighi.inference.options import PredictOptions  # noqa: E402
from malpighi.models.outputs import Outputs  # noqa: E402


class Scale:
    """Voxels times a number, as float32."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def apply(self, batch):
        return batch.float() * self.factor


class Pass(torch.nn.Module):
    """Gives its input back as logits."""

    rank = 2

    def forward(self, x):
        return Outputs(x)


class Corner(torch.nn.Module):
    """Logits that are large in one corner of the tile, wherever the image lies: flips must average it away."""

    def forward(self, x):
        out = torch.zeros_like(x)
        out[(..., *(slice(0, 1),) * (x.ndim - 2))] = 8
        return Outputs(out)


def convolutions(rank: int):
    torch.manual_seed(0)
    conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[rank]

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rank = rank
            self.body = torch.nn.Sequential(conv(1, 8, 3, padding=1), torch.nn.ReLU(), conv(8, 2, 3, padding=1))

        def forward(self, x):
            return Outputs(self.body(x))

    return Small()


def test_probabilities_are_the_sigmoid_of_what_intensity_and_network_give():
    tiles = np.array([0, 1, 2, 255], np.uint8).reshape(1, 1, 2, 2)
    found = torch_forward(Pass(), Scale(0.5))(tiles)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-0.5 * tiles.astype(float))), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int16", "float32", "float64"])
def test_every_type_of_voxel_that_images_have(dtype):
    tiles = np.array([0, 1, 2, 100], dtype).reshape(1, 1, 2, 2)
    found = torch_forward(Pass(), Scale(0.01))(tiles)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-0.01 * tiles.astype(float))), rtol=1e-6)


@pytest.mark.parametrize(
    ("flips", "rank", "passes"), [("none", 2, 1), ("flips", 2, 4), ("d4", 2, 8), ("flips", 3, 8), ("d4", 3, 16)]
)
def test_how_many_passes(flips, rank, passes):
    turns = symmetries(flips, (8,) * rank)
    assert len(set(turns)) == len(turns) == passes


@pytest.mark.parametrize("flips", ["flips", "d4"])
@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
def test_flips_come_back_to_where_they_were(flips, shape):
    tiles = np.random.default_rng(0).random((2, 1, *shape), np.float32)
    plain = torch_forward(Pass(), Scale(1))(tiles)
    np.testing.assert_allclose(torch_forward(Pass(), Scale(1), flips=flips)(tiles), plain, rtol=1e-6)


@pytest.mark.parametrize("flips", ["flips", "d4"])
def test_flips_average_over_the_corners(flips):
    found = torch_forward(Corner(), Scale(1), flips=flips)(np.zeros((1, 1, 4, 4), np.float32))[0, 0]
    corner = (1 / (1 + np.exp(-8)) + 3 * 0.5) / 4
    np.testing.assert_allclose(found[[0, 0, -1, -1], [0, -1, 0, -1]], corner, rtol=1e-5)
    assert found[1, 1] == 0.5


def test_turning_a_tile_that_is_not_square_is_refused():
    with pytest.raises(RecipeError, match="square"):
        torch_forward(Pass(), Scale(1), flips="d4")(np.zeros((1, 1, 4, 6), np.float32))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_region_predicted_alone_is_the_same_bit_for_bit_by_a_network(rank):
    shape = {2: (90, 70), 3: (30, 26, 20)}[rank]
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8))
    options = PredictOptions(tile={2: 32, 3: 16}[rank], batch=3)
    forward = torch_forward(convolutions(rank), Scale(1 / 255))
    whole, _ = collect(forward, source, options, classes=2)
    region = Box(tuple(n // 3 for n in shape), tuple(n // 2 for n in shape))
    part, _ = collect(forward, source, options, classes=2, region=region)
    inside = (slice(None), *region.slices)
    assert part[inside].tobytes() == whole[inside].tobytes()


@pytest.mark.parametrize("rank", [2, 3])
def test_reduced_precision_and_memory_order_stay_close(rank):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 1, *(16,) * rank), np.uint8)
    exact = torch_forward(convolutions(rank), Scale(1 / 255))(tiles)
    ordered = torch_forward(convolutions(rank), Scale(1 / 255), channels_last=True)(tiles)
    reduced = torch_forward(convolutions(rank), Scale(1 / 255), precision="bfloat16")(tiles)
    np.testing.assert_allclose(ordered, exact, atol=1e-5)
    np.testing.assert_allclose(reduced, exact, atol=2e-2)


class Told(torch.nn.Module):
    """Two classes, both sure everywhere; of the tile as a whole it says what the corner voxel's two channels say."""

    def forward(self, x):
        return Outputs(torch.full_like(x, 3.0), told={"tile": x[:, :, 0, 0]})


def test_a_class_that_the_tile_does_not_hold_has_no_probability_in_it():
    tiles = np.full((2, 2, 4, 4), -2.0, np.float32)
    tiles[0, 0] = tiles[1, 1] = 0.0  # the head says .5 there, and .12 elsewhere
    found = torch_forward(Told(), Scale(1.0), gate=0.5)(tiles)
    sure = 1 / (1 + np.exp(-3))
    np.testing.assert_allclose(found[[0, 1], [0, 1]], sure, rtol=1e-6)
    assert found[0, 1].max() == found[1, 0].max() == 0
    np.testing.assert_allclose(torch_forward(Told(), Scale(1.0))(tiles), sure, rtol=1e-6)


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_the_gate_is_asked_of_the_mean_over_flips(average):
    tiles = np.full((1, 1, 4, 4), -2.0, np.float32)
    tiles[..., 0, 0] = 4.0  # one of four flips says .98, three say .12: .34 in the mean
    kept, gone = (torch_forward(Told(), Scale(1.0), flips="flips", average=average, gate=g)(tiles) for g in (0.3, 0.4))
    assert kept.min() > 0.9
    assert gone.max() == 0


def test_a_gate_needs_a_head():
    with pytest.raises(RecipeError, match=r"predict\.gate = 0\.5.*model\.tile_class = true"):
        torch_forward(Pass(), Scale(1.0), gate=0.5)(np.zeros((1, 1, 2, 2), np.float32))


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_classes_that_exclude_one_another_have_the_probabilities_of_a_softmax_with_background(average):
    network = Pass()
    network.exclusive = True
    logits = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 4)).astype(np.float32)
    found = torch_forward(network, Scale(1.0), flips="flips", average=average)(logits)
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(found, powers / (1 + powers.sum(1, keepdims=True)), rtol=1e-5)
