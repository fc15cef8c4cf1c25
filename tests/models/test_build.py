"""Every architecture builds, keeps the contract, and says what would do when it is misused."""

import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from malpighi.errors import DependencyError, RecipeError
from malpighi.models.build import DECODERS, WIDTHS, ModelOptions, build_network
from malpighi.models.losses import LossOptions, build_loss

ENCODERS = ["resnet10t", "mobilenetv3_small_050", "convnext_atto"]
LIGHT = (32, 16, 16, 8, 8)


def light(architecture: str, **others) -> ModelOptions:
    """The smallest network of an architecture."""
    own = {"widths": (8, 16, 32)} if architecture in WIDTHS else {"encoder": "resnet10t", "decoder_channels": LIGHT}
    if architecture in DECODERS and DECODERS[architecture].widths == 1:
        own["decoder_channels"] = (16,)
    return ModelOptions(architecture, **{"pretrained": "never", **own, **others})


PLANE = [light(name) for name in (*DECODERS, "attention-unet")] + [light("unet", encoder="convnext_atto", stem=True)]
THIN = [
    light("unet", slices_in=1),
    light("unet", slices_in=1, repeat=3),
    light("unet", slices_in=3),
    light("unet", slices_in=3, slices_out=3, stem=True),
    light("unet++", slices_in=5, slices_out=5),
    light("fpn", slices_in=5),
    light("attention-unet", slices_in=1, repeat=3),
]
THICK = [light(name) for name in WIDTHS if name != "attention-unet"] + [
    light("res-unet3d", flat=1, dropout=0.1),
    light("dynunet", flat=2),
]


def _name(options: ModelOptions) -> str:
    changed = {key: value for key, value in vars(options).items() if value != getattr(ModelOptions(), key)}
    return "-".join(str(value) for key, value in changed.items() if key != "pretrained")


@pytest.mark.parametrize("options", PLANE + THIN + THICK, ids=_name)
def test_network_keeps_the_contract_learns_and_is_saved(options, tmp_path):
    torch.manual_seed(0)
    network = build_network(options, in_channels=2, classes=2)
    assert (network.in_channels, network.classes, network.rank) == (2, 2, options.rank)
    assert len(network.stride) == options.rank
    depth, out = (options.slices_in, options.slices_out) if options.slices_in else (8, 8)
    sides = (depth, 32, 64)[-options.rank :]
    assert all(side % step == 0 for side, step in zip(sides, network.stride, strict=True))
    x = torch.rand(2, 2, *sides)
    target = torch.randint(0, 2, (2, 2, *sides), dtype=torch.uint8)

    outputs = network.train()(x)
    assert outputs.logits.shape == (2, 2, *(out, 32, 64)[-options.rank :])
    build_loss(LossOptions())(outputs, target).backward()
    lost = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not lost

    save_file(network.state_dict(), tmp_path / "w.safetensors")
    again = build_network(options, in_channels=2, classes=2)
    again.load_state_dict(load_file(tmp_path / "w.safetensors"))
    with torch.inference_mode():
        torch.testing.assert_close(again.eval()(x).logits, network.eval()(x).logits)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("architecture", sorted(DECODERS))
@pytest.mark.parametrize("stem", [False, True])
def test_encoders_under_decoders(architecture, encoder, stem):
    if stem and architecture != "unet":
        pytest.skip("only a U-Net takes a stem")
    options = ModelOptions(architecture, encoder, pretrained="never", stem=stem)
    network = build_network(options, in_channels=3, classes=2).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(1, 3, 64, 96))
    assert outputs.logits.shape == (1, 2, 64, 96)
    assert outputs.deep == ()
    assert outputs.image_logits is None


def test_channels_are_free():
    network = build_network(light("unet"), in_channels=5, classes=1).eval()
    assert network(torch.zeros(1, 5, 32, 32)).logits.shape == (1, 1, 32, 32)


def test_stem_sees_single_voxels_that_the_encoder_cannot_place():
    """Of ConvNeXt the decoder has nothing finer than a quarter: without a stem its output is constant on 2×2 blocks of nearest
    upsampling but for its last convolutions; what differs within them comes through the stem."""
    torch.manual_seed(0)
    x = torch.zeros(1, 1, 64, 64)
    x[..., 32, 32] = 1
    moved = x.roll(1, -1)
    change = {}
    for stem in (False, True):
        network = build_network(light("unet", encoder="convnext_atto", stem=stem), 1, 1).eval()
        with torch.inference_mode():
            features = [network.body.encoder(image)[1] for image in (x, moved)]
        change[stem] = features[0].shape[2:], features[0].numel() and not torch.equal(*features)
    assert change[True] == ((64, 64), True)
    assert change[False] == ((32, 32), 0)  # no channels at all at half the resolution


def test_slices_keep_class_and_order():
    """A plane network that gives back its channels: class c of slice s must come out as class c of slice s."""
    from malpighi.models.network import Network
    from malpighi.models.outputs import Outputs
    from malpighi.models.slices import SliceNetwork

    class Same(Network):
        def forward(self, x):
            return Outputs(x)

    x = torch.arange(2 * 3 * 4.0).reshape(1, 2, 3, 2, 2)
    wrapped = SliceNetwork(Same(6, 6, (1, 1)), in_channels=2, classes=2, slices=(3, 3))
    assert wrapped.stride == (1, 1, 1)
    torch.testing.assert_close(wrapped(x).logits, x)
    thrice = SliceNetwork(Same(3, 3, (1, 1)), in_channels=1, classes=3, slices=(1, 1), repeat=3)
    one = x[:, :1, :1]
    torch.testing.assert_close(thrice(one).logits, one.expand(1, 3, 1, 2, 2))


def test_deep_supervision_only_while_training():
    network = build_network(light("dynunet", widths=(8, 16, 16, 16)), 1, 2)
    x = torch.rand(2, 1, 8, 16, 16)
    deep = network.train()(x).deep
    assert [d.shape for d in deep] == [(2, 2, 8, 16, 16)] * 2
    assert network.eval()(x).deep == ()


def test_flat_stages_keep_thin_tiles():
    network = build_network(light("res-unet3d", widths=(4, 8, 8, 8, 8), flat=2), 1, 1).eval()
    assert network.stride == (4, 16, 16)
    assert network(torch.zeros(1, 1, 4, 32, 32)).logits.shape == (1, 1, 4, 32, 32)


def test_attention_gates_are_additive_and_lie_on_every_skip():
    from monai.networks.nets.attentionunet import AttentionBlock

    network = build_network(ModelOptions("attention-unet"), 3, 1)
    gates = [module for module in network.modules() if isinstance(module, AttentionBlock)]
    assert sorted(gate.W_x[0].conv.in_channels for gate in gates) == [64, 128, 256, 512]
    gate, x = gates[0].eval(), torch.rand(1, gates[0].W_x[0].conv.in_channels, 2, 2)
    expected = x * torch.sigmoid(gate.psi[1](gate.psi[0](torch.relu(gate.W_g(x) + gate.W_x(x)))))
    torch.testing.assert_close(gate(x, x), expected)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_published_first_layer_gives_equal_channels_what_it_gives_rgb(k, tmp_path, monkeypatch):
    """k equal channels through the adapted layer = the same image as R = G = B through the published one."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    published = timm.create_model("resnet10t", in_chans=3)
    save_file(published.state_dict(), tmp_path / "published.safetensors")
    real, overlay = smp.create_model, {"file": str(tmp_path / "published.safetensors")}
    monkeypatch.setattr(smp, "create_model", lambda **arguments: real(**arguments, pretrained_cfg_overlay=overlay))

    options = light("unet", slices_in=1, repeat=k, pretrained="required")
    network = build_network(options, in_channels=1, classes=1).eval()
    x = torch.rand(2, 1, 1, 32, 32)
    with torch.inference_mode():
        first = network.plane.body.encoder(x[:, :, 0].repeat(1, k, 1, 1))[1]
        expected = timm.create_model("resnet10t", features_only=True).eval()
        expected.load_state_dict(published.state_dict(), strict=False)
        torch.testing.assert_close(first, expected(x[:, :, 0].repeat(1, 3, 1, 1))[0], rtol=1e-4, atol=1e-5)


def test_bad_shape_names_the_one_that_would_do():
    network = build_network(light("unet"), in_channels=3, classes=1)
    with pytest.raises(ValueError, match=r"\(96, 128\) would do"):
        network(torch.zeros(1, 3, 65, 100))
    with pytest.raises(ValueError, match="takes \\(batch, 3, y, x\\)"):
        network(torch.zeros(1, 4, 64, 64))
    thin = build_network(light("unet", slices_in=3), in_channels=1, classes=1)
    with pytest.raises(ValueError, match=r"takes 3; \(3, 32, 32\) would do"):
        thin(torch.zeros(1, 1, 5, 32, 32))
    with pytest.raises(ValueError, match=r"\(3, 64, 32\) would do"):
        thin(torch.zeros(1, 1, 3, 40, 32))
    thick = build_network(light("dynunet"), in_channels=1, classes=1)
    with pytest.raises(ValueError, match=r"\(12, 16, 16\) would do"):
        thick(torch.zeros(1, 1, 10, 16, 16))
    with pytest.raises(ValueError, match=r"one voxel .* \(4, 4, 8\) would do"):
        thick(torch.zeros(1, 1, 4, 4, 4))


def test_unknown_encoder_names_the_nearest():
    with pytest.raises(RecipeError, match="resnet18"):
        build_network(ModelOptions("unet", "resnet81", "never"), in_channels=3, classes=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slices_in": 4}, "odd number"),
        ({"slices_in": -1}, "odd number"),
        ({"slices_in": 5, "slices_out": 3}, "it is 1 or 5"),
        ({"slices_out": 3}, "it is 1$"),
        ({"architecture": "dynunet", "slices_in": 3}, "3-D by itself"),
        ({"repeat": 3}, "model.slices_in = 1"),
        ({"architecture": "fpn", "stem": True}, "takes no stem"),
        ({"architecture": "dynunet", "decoder_channels": (8, 8)}, "give model.widths"),
        ({"architecture": "dynunet", "pretrained": "required"}, "no published weights"),
        ({"widths": (8, 16, 32)}, "give model.encoder"),
        ({"architecture": "res-unet3d", "widths": (8, 16)}, "at least three"),
        ({"architecture": "segresnet", "widths": (8, 16, 24)}, "twice"),
        ({"architecture": "segresnet", "flat": 1}, "between 0 and 0"),
        ({"architecture": "res-unet3d", "flat": 5}, "between 0 and 4"),
        ({"flat": 1}, "between 0 and 0"),
        ({"decoder_channels": (64, 32)}, "five positive numbers, one number a stage"),
        ({"architecture": "upernet", "decoder_channels": (64, 32, 16, 8, 8)}, "one positive number, the width of pooled"),
        ({"architecture": "fpn", "decoder_channels": (0,)}, "one positive number, the pyramid's width"),
        (
            {"architecture": "fpn", "attention": "scse"},
            'model.architecture = "unet" or "unet\\+\\+", or model.attention = "none"',
        ),
        ({"architecture": "manet", "bottleneck": "aspp"}, 'or model.bottleneck = "none"'),
        ({"architecture": "unet++", "upsampling": "pixelshuffle"}, 'or model.upsampling = "nearest"'),
        ({"architecture": "segformer", "join": "pyramid"}, 'or model.join = "none"'),
        ({"architecture": "dynunet", "deep": 2}, "or model.deep = 0"),
        ({"architecture": "segresnet", "auxiliary": True}, "or model.auxiliary = false"),
        ({"architecture": "attention-unet", "tile_class": True}, "or model.tile_class = false"),
        ({"architecture": "res-unet3d", "tells": ("organ",)}, r"\['organ'\].*or model.tells = \[\]"),
        ({"deep": 5}, "give 0 to as many"),
        ({"deep": -1}, "has 4 stages before its last"),
        ({"dropout": 1.0}, "less than 1"),
        ({"tells": ("organ", "organ")}, "each attribute once"),
        ({"tells": ("tile",)}, "model.tile_class = true"),
    ],
)
def test_contradictions_are_named_with_their_cure(options, message):
    with pytest.raises(RecipeError, match=message) as caught:
        ModelOptions(**options)
    assert str(caught.value).startswith("model.")


def test_options_need_no_torch():
    code = (
        "import sys; from malpighi.models.build import ModelOptions; from malpighi.models.losses import LossOptions; "
        "assert ModelOptions(slices_in=3).rank == ModelOptions('dynunet').rank == 3; assert ModelOptions().rank == 2; "
        "LossOptions('focal + 0.01*boundary'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_weights_warn_or_stop(monkeypatch):
    import segmentation_models_pytorch as smp

    real = smp.create_model

    def offline(*args, **kwargs):
        if kwargs["encoder_weights"]:
            raise OSError("hub is out of reach")
        return real(*args, **kwargs)

    monkeypatch.setattr(smp, "create_model", offline)
    with pytest.warns(UserWarning, match="random weights"):
        build_network(ModelOptions("unet", "resnet10t", "preferred"), in_channels=3, classes=1)
    with pytest.raises(DependencyError, match="out of reach"):
        build_network(ModelOptions("unet", "resnet10t", "required"), in_channels=3, classes=1)


def test_drop_path_grows_to_what_was_asked_and_is_refused_where_there_is_none():
    network = build_network(ModelOptions(encoder="regnetx_002", pretrained="never", drop_path=0.4), 3, 1)
    chances = [part.drop_prob for part in network.modules() if type(part).__name__ == "DropPath"]
    assert chances == sorted(chances)
    assert chances[-1] == pytest.approx(0.4)
    with pytest.raises(RecipeError, match=r"model\.drop_path: vgg11 has no blocks that can be left out; set it to 0"):
        build_network(ModelOptions(encoder="vgg11", pretrained="never", drop_path=0.4), 3, 1)
    with pytest.raises(RecipeError, match=r"model\.drop_path 1"):
        ModelOptions(drop_path=1.0)
    with pytest.raises(RecipeError, match=r"model\.drop_path 0\.1"):
        ModelOptions(architecture="dynunet", drop_path=0.1)
