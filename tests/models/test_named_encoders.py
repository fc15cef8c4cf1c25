"""The encoders that the published systems name, under the decoders they name them with, and what no decoder can stand on."""

import pytest
import torch

from malpighi.errors import RecipeError
from malpighi.models.build import ModelOptions, build_network
from malpighi.models.coat import adapt_coat

PYRAMID = {"bottleneck": "aspp", "join": "pyramid"}
WINNER = {"attention": "cbam", "join": "hypercolumn", "deep": 4, "tile_class": True, "decoder_channels": (64,) * 5}
NAMED = [
    ("unet", "seresnext101_32x4d", WINNER),
    ("unet", "resnext50_32x4d", {**PYRAMID, "upsampling": "pixelshuffle"}),
    ("unet", "resnext101_32x8d", PYRAMID),
    ("unet", "resnest101e", PYRAMID),
    ("unet", "resnest269e", PYRAMID),
    *(("unet", f"efficientnet_b{size}", {}) for size in range(8)),
    ("fpn", "efficientnet_b2", {}),
    ("manet", "efficientnet_b4", {}),
    ("unet++", "efficientnet_b2", {}),
    ("unet", "tf_efficientnet_b7", {"tells": ("organ", "pixel_size")}),
    ("upernet", "convnext_base", {"auxiliary": True, "dropout": 0.1, "decoder_channels": (512,), "exclusive": True}),
    ("upernet", "convnext_xlarge", {"auxiliary": True, "dropout": 0.1, "decoder_channels": (512,)}),
    ("unet", "regnety_016", {"attention": "scse"}),
    ("unet++", "regnetx_032", {}),
    ("deeplabv3+", "regnety_016", {}),
    ("unet", "coat_lite_medium", {}),
    ("upernet", "coat_lite_medium", {}),
    ("segformer", "pvt_v2_b3", {"exclusive": True}),
    ("upernet", "swin_tiny_patch4_window7_224", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder", "parts"), NAMED)
def test_builds_and_computes_shapes_without_memory(architecture, encoder, parts):
    options = ModelOptions(architecture, encoder, "never", **parts)
    with torch.device("meta"):
        network = build_network(options, 3, 2, {"organ": ("kidney", "colon")})
        x = torch.zeros(2, 3, 64, 128)
        trained, used = network.train()(x), network.eval()(x)
    assert trained.logits.shape == used.logits.shape == (2, 2, 64, 128)
    assert len(trained.deep) == options.deep + options.auxiliary
    assert set(used.told) == set(("tile",) * options.tile_class + options.tells)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "encoder", "parts"),
    [
        ("unet", "resnext50_32x4d", {**PYRAMID, "upsampling": "pixelshuffle"}),
        ("unet", "resnest14d", PYRAMID),
        ("fpn", "efficientnet_b2", {}),
        ("upernet", "convnext_atto", {"auxiliary": True, "dropout": 0.1, "decoder_channels": (64,)}),
        ("segformer", "pvt_v2_b1", {}),
        ("unet", "coat_lite_mini", {}),
        ("upernet", "coat_mini", {}),
        ("upernet", "swin_tiny_patch4_window7_224", {}),
    ],
)
def test_takes_a_step_on_real_numbers(architecture, encoder, parts):
    torch.manual_seed(0)
    network = build_network(ModelOptions(architecture, encoder, "never", **parts), 3, 1).train()
    optimiser = torch.optim.SGD(network.parameters(), 1e-3)
    outputs = network(torch.rand(2, 3, 64, 96))
    torch.stack([part.square().mean() for part in (outputs.logits, *outputs.deep)]).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in network.parameters())
    optimiser.step()
    with torch.inference_mode():
        assert network.eval()(torch.rand(1, 3, 32, 64)).logits.isfinite().all()


def test_coat_gives_at_its_own_size_what_timm_gives():
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("coat_lite_tiny", features_only=True).eval()
    torch.manual_seed(0)
    ours = timm.create_model("coat_lite_tiny", features_only=True).eval()
    adapt_coat(ours)
    x = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        for own, other in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(own, other)


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("segformer", "mit_b3", "pvt_v2_b3"),
        ("unet", "maxvit_tiny_tf_224", "images of any size .* such as resnet18"),
        ("unet", "vit_tiny_patch16_224", "feature maps at five scales, such as resnet18"),
        ("deeplabv3+", "pvt_v2_b0", "can leave out their last halving, such as resnet18"),
    ],
)
def test_what_fits_under_no_decoder_is_refused_with_what_would(architecture, encoder, message):
    with torch.device("meta"), pytest.raises(RecipeError, match=message):
        build_network(ModelOptions(architecture, encoder, "never"), 3, 1)
