"""Parts of a U-Net's decoder, each by what it is there for."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from malpighi.models.attention import Cbam, Scse
from malpighi.models.build import ModelOptions, build_network
from malpighi.models.decoder_parts import Aspp, PixelShuffle, hypercolumn, pyramid


def light(architecture="unet", **parts):
    return build_network(
        ModelOptions(architecture, "resnet10t", "never", decoder_channels=(32, 16, 16, 8, 8), **parts), in_channels=1, classes=1
    )


def test_pixel_shuffle_begins_as_nearest_neighbour():
    torch.manual_seed(0)
    up, x = PixelShuffle(6), torch.randn(2, 6, 5, 4)
    found = up(x)
    assert found.shape == (2, 3, 10, 8)
    one = functional.conv2d(x, up.spread.weight[::4]).relu()
    torch.testing.assert_close(found, functional.interpolate(one, scale_factor=2, mode="nearest"))
    assert found.std((0, 2, 3)).min() > 0


def test_pixel_shuffle_can_learn_what_nearest_neighbour_cannot_say():
    up = PixelShuffle(2)
    with torch.no_grad():
        up.spread.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(up(torch.zeros(1, 2, 1, 1))[0, 0], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_aspp_reaches_four_places_in_steps_of_one():
    """The gradient of one place's features lies on the crosses and squares of dilations 1 … 4; the maximum over all is cut off."""
    torch.manual_seed(0)
    aspp = Aspp(8).eval()
    nn.init.zeros_(aspp.whole[1].weight)
    x = torch.randn(1, 8, 15, 15, requires_grad=True)
    aspp(x)[0, :, 7, 7].sum().backward()
    found = x.grad[0].abs().amax(0) > 0
    expected = torch.zeros(15, 15, dtype=torch.bool)
    for step in (1, 2, 3, 4):
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                expected[7 + dy, 7 + dx] = True
    assert torch.equal(found, expected)


def test_aspp_sees_the_whole_tile_and_half_of_it_is_dropped():
    torch.manual_seed(0)
    aspp = Aspp(64).eval()
    assert [branch[0].dilation for branch in aspp.dilated] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    x = torch.zeros(1, 64, 32, 32)
    far = x.clone()
    far[..., 0, 0] = 9.0
    assert not torch.equal(aspp(x)[..., 31, 31], aspp(far)[..., 31, 31])
    nn.init.constant_(aspp.join[1].bias, 9.0)
    dropped = torch.stack([aspp.train()(x.expand(2, -1, -1, -1)).amax((2, 3)) == 0 for _ in range(20)])
    assert abs(float(dropped.float().mean()) - 0.5) < 0.05  # of 2560 channels


def test_bottleneck_trains_on_one_tile():
    network = light(bottleneck="aspp", upsampling="pixelshuffle").train()
    network(torch.rand(1, 1, 64, 64)).logits.mean().backward()


def test_bottleneck_takes_the_coarsest_features_and_narrows_them():
    network = light(bottleneck="aspp")
    assert network.body.encoder.out_channels[-1] == network.body.decoder.center.point[0].in_channels == 512
    wide = build_network(ModelOptions("unet", "resnet50", "never", bottleneck="aspp"), 3, 1)
    assert wide.body.decoder.center.point[0].in_channels == 2048
    assert wide.body.decoder.blocks[0].conv1[0].in_channels == 512 + 1024


def test_scse_is_the_module_of_segmentation_models_pytorch():
    from segmentation_models_pytorch.base.modules import SCSEModule

    torch.manual_seed(0)
    ours, theirs, x = Scse(32), SCSEModule(32), torch.randn(2, 32, 5, 4)
    for own, other in zip(
        (ours.channel[0], ours.channel[2], ours.place), (theirs.cSE[1], theirs.cSE[3], theirs.sSE[0]), strict=True
    ):
        own.load_state_dict(other.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


def test_attention_lies_where_features_meet_and_leave():
    def widths(network, kind):
        return sorted(
            module.place.in_channels if kind is Scse else module.channel[0].in_channels for module in _all(network, kind)
        )

    def _all(network, kind):
        return [module for module in network.modules() if isinstance(module, kind)]

    cbam, scse, plain = (light(attention=kind) for kind in ("cbam", "scse", "none"))
    assert widths(cbam, Cbam) == [8, 8, 16, 16, 32]
    taken = [block.conv1[0].in_channels for block in scse.body.decoder.blocks][:-1]  # the last has no skip to weigh
    assert widths(scse, Scse) == sorted([8, 8, 16, 16, 32, *taken])
    assert not _all(plain, Cbam) + _all(plain, Scse)
    assert _all(cbam, Cbam)[0].channel[0].out_channels == 32 // 16
    stem = light(attention="scse", stem=True)
    assert len(_all(stem, Scse)) == 10
    assert len(_all(light("unet++", attention="cbam"), Cbam)) == 11  # ten nodes of the triangle, and the last stage


def test_hypercolumn_is_every_stage_side_by_side():
    torch.manual_seed(0)
    join = hypercolumn((64, 8))
    assert (join.out_channels, isinstance(join.layers[0], nn.Identity)) == (128, True)
    coarse, fine = torch.randn(1, 64, 2, 2), torch.randn(1, 8, 4, 4)
    found = join([coarse, fine])
    torch.testing.assert_close(found[:, :64], functional.interpolate(coarse, scale_factor=2, mode="bilinear"))
    torch.testing.assert_close(found[:, 64:], join.layers[1](fine))


def test_pyramid_gives_each_stage_two_convolutions():
    join = pyramid((32, 8)).eval()
    stages = [torch.randn(1, 32, 2, 2), torch.randn(1, 8, 4, 4)]
    assert join(stages).shape == (1, 32, 4, 4)
    assert [[type(layer).__name__ for layer in layers].count("Conv2d") for layers in join.layers] == [2, 2]


@pytest.mark.parametrize(("kind", "channels"), [("none", 8), ("hypercolumn", 320), ("pyramid", 80)])
def test_join_says_what_the_last_convolution_sees(kind, channels):
    assert light(join=kind).body.segmentation_head[0].in_channels == channels


def test_stages_are_what_segmentation_models_pytorch_computes_step_by_step():
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    network = light().eval()
    theirs = UnetDecoder(network.body.encoder.out_channels, (32, 16, 16, 8, 8)).eval()
    theirs.load_state_dict(network.body.decoder.state_dict())
    with torch.inference_mode():
        features = network.body.encoder(torch.rand(1, 1, 64, 96))
        stages = network.body.decoder(features)
        torch.testing.assert_close(stages[-1], theirs(features), rtol=0, atol=0)
    assert [tuple(x.shape[1:]) for x in stages] == [(32, 4, 6), (16, 8, 12), (16, 16, 24), (8, 32, 48), (8, 64, 96)]
