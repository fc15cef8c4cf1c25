"""Every architecture with every part it takes: shapes, what comes only while training, gradients, files, bfloat16."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from malpighi.errors import RecipeError
from malpighi.models.architectures import DECODERS, PARTS
from malpighi.models.build import ModelOptions, build_network

VALUES = {"organ": ("kidney", "colon", "lung"), "type": ("one",)}
LIGHT = {5: (32, 16, 16, 8, 8), 1: (16,)}
ON = {
    "stem": True,
    "bottleneck": "aspp",
    "upsampling": "pixelshuffle",
    "deep": 3,
    "auxiliary": True,
    "tile_class": True,
    "tells": ("organ", "pixel_size", "type"),
}
WAYS = {"attention": ("scse", "cbam"), "join": ("hypercolumn", "pyramid")}
OF_A_UNET = [part for part, (takers, _) in PARTS.items() if len(takers) < len(DECODERS)]
HEADS = {part: ON[part] for part in ("auxiliary", "tile_class", "tells")}
SINGLE = [(name, {part: value}) for part in OF_A_UNET for value in WAYS.get(part, (ON.get(part),)) for name in PARTS[part][0]]
ALL = [
    *((name, {}) for name in DECODERS),
    *((name, HEADS) for name in DECODERS),
    *SINGLE,
    ("unet", {**ON, "attention": "cbam", "join": "hypercolumn", "deep": 4, "dropout": 0.1}),
    ("unet", {**ON, "stem": False, "attention": "scse", "join": "pyramid", "encoder": "convnext_atto"}),
    ("unet", {**ON, "attention": "cbam", "encoder": "convnext_atto", "slices_in": 3, "slices_out": 3}),
    ("unet++", {"attention": "scse", "encoder": "convnext_atto"}),
    ("manet", {"encoder": "pvt_v2_b0"}),
    ("segformer", {"encoder": "pvt_v2_b0", "auxiliary": True, "dropout": 0.1}),
    ("upernet", {"encoder": "coat_lite_tiny", "auxiliary": True}),
]


def light(architecture, **parts) -> ModelOptions:
    own = {"encoder": "regnetx_002", "pretrained": "never", "decoder_channels": LIGHT[DECODERS[architecture].widths]}
    return ModelOptions(architecture, **{**own, **parts})


def _name(case) -> str:
    architecture, parts = case
    return "-".join([architecture, *(f"{key}={value}" for key, value in parts.items())])


@pytest.fixture(scope="class", params=ALL, ids=_name)
def options(request):
    architecture, parts = request.param
    return light(architecture, **parts)


@pytest.fixture(scope="class")
def network(options):
    torch.manual_seed(0)
    return build_network(options, 3, 2, VALUES)


@pytest.fixture(scope="class")
def image(options):
    between = (options.slices_in,) if options.slices_in else ()
    return torch.rand(2, 3, *between, 64, 96, generator=torch.Generator().manual_seed(1))


class TestContract:
    """What inference, losses and the loop lean on."""

    @staticmethod
    def told(options) -> dict[str, tuple[int, int]]:
        sizes = {"tile": 2} if options.tile_class else {}
        return {name: (2, size) for name, size in {**sizes, **{n: len(VALUES.get(n, "1")) for n in options.tells}}.items()}

    def test_training_gives_every_head_and_teaches_every_parameter(self, options, network, image):
        outputs = network.train()(image)
        shape = (2, 2, *(options.slices_out,) * bool(options.slices_in), 64, 96)
        assert outputs.logits.shape == shape
        assert [deep.shape for deep in outputs.deep] == [shape] * (options.deep + options.auxiliary)
        assert {name: tuple(told.shape) for name, told in outputs.told.items()} == self.told(options)
        parts = (outputs.logits, *outputs.deep, *outputs.told.values())
        network.zero_grad()
        torch.stack([part.square().mean() for part in parts]).sum().backward()
        lost = [name for name, each in network.named_parameters() if each.grad is None or not each.grad.isfinite().all()]
        assert not lost

    def test_evaluation_gives_logits_and_what_is_told_alone(self, options, network, image):
        with torch.inference_mode():
            outputs = network.eval()(image)
        assert outputs.deep == ()
        assert {name: tuple(told.shape) for name, told in outputs.told.items()} == self.told(options)
        assert outputs.logits.shape[-2:] == (64, 96)

    def test_save_and_load(self, options, network, image, tmp_path):
        save_file(network.state_dict(), tmp_path / "w.safetensors")
        again = build_network(options, 3, 2, VALUES)
        again.load_state_dict(load_file(tmp_path / "w.safetensors"))
        with torch.inference_mode():
            expected, found = network.eval()(image), copy.deepcopy(again.eval())(image)
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(dict(found.told), dict(expected.told))

    def test_bfloat16(self, network, image):
        with torch.inference_mode():
            expected = network.eval()(image).logits
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = network(image).logits.float()
        assert found.isfinite().all()
        assert (found - expected).abs().mean() < 0.1 * expected.abs().mean() + 0.02


def test_plain_unet_has_the_names_weights_and_answer_of_segmentation_models_pytorch():
    """So that runs and starter models trained before parts could be named load, and give what they gave."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(3)
    theirs = smp.create_model(
        "unet", "tu-regnetx_002", encoder_weights=None, in_channels=3, classes=2, decoder_channels=LIGHT[5]
    ).eval()
    torch.manual_seed(3)
    network = build_network(light("unet"), 3, 2).eval()
    ours = network.state_dict()
    assert list(ours) == [f"body.{name}" for name in theirs.state_dict()]
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[f"body.{name}"], value, rtol=0, atol=0)
    x = torch.rand(1, 3, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(x).logits, theirs(x), rtol=0, atol=0)


def test_deep_heads_go_from_the_finest_stage_before_the_last_to_coarser_ones_and_the_auxiliary_one_comes_last():
    network = build_network(light("unet", deep=4, auxiliary=True), 3, 1).train()
    for level, head in enumerate([*network.deep.heads, network.auxiliary.layers[-1]]):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, level)
    assert [head.in_channels for head in network.deep.heads] == [8, 16, 16, 32]
    assert network.auxiliary.layers[0].in_channels == network.body.encoder.out_channels[4]
    assert [deep.mean().item() for deep in network(torch.rand(2, 3, 64, 64)).deep] == [0, 1, 2, 3, 4]


def test_what_is_told_is_of_the_tile_and_not_of_a_place():
    network = build_network(light("unet", tile_class=True, tells=("organ",)), 3, 2, VALUES).eval()
    x = torch.rand(1, 3, 64, 64)
    features = network.body.encoder(x)[-1].mean((2, 3))
    told = network(x).told
    torch.testing.assert_close(told["tile"], network.told.heads[0](features))
    torch.testing.assert_close(told["organ"], network.told.heads[1](features))


@pytest.mark.parametrize(("architecture", "slices"), [("unet", 0), ("unet", 3), ("dynunet", 0), ("attention-unet", 0)])
@pytest.mark.parametrize("exclusive", [False, True])
def test_networks_say_whether_classes_exclude_one_another(architecture, slices, exclusive):
    own = {"widths": (4, 8, 8)} if architecture != "unet" else {"encoder": "resnet10t", "decoder_channels": LIGHT[5]}
    options = ModelOptions(architecture, pretrained="never", slices_in=slices, exclusive=exclusive, **own)
    assert build_network(options, 1, 3).exclusive is exclusive


def test_an_attribute_that_no_case_says_is_named():
    with pytest.raises(RecipeError, match="no case says its organ"):
        build_network(light("unet", tells=("organ", "pixel_size")), 3, 1, {"organ": ()})


def test_dropout_is_there_while_training_alone_and_once():
    network = build_network(light("fpn", dropout=0.5), 3, 1)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(x).logits, network(x).logits)
    kept = []
    network.body.segmentation_head.register_forward_hook(lambda module, inputs, output: kept.append(inputs[0]))
    for norm in network.body.decoder.modules():
        if isinstance(norm, torch.nn.GroupNorm):  # so that no channel is zero by itself
            torch.nn.init.ones_(norm.bias)
    torch.manual_seed(0)
    for _ in range(20):
        network.train()(x)
    share = float(torch.stack(kept).abs().amax((3, 4)).eq(0).float().mean())
    assert abs(share - 0.5) < 0.05  # of 5120 channels; dropped twice it would be 0.75
