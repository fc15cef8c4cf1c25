"""Classifiers: every option builds, learns and is saved; maps lie where they should; errors name what would do."""

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from malpighi.errors import DependencyError, RecipeError
from malpighi.models.classifier import build_classifier
from malpighi.models.classify import ClassifierOptions, LabelLossOptions
from malpighi.models.label_losses import build_label_loss


def tiny(**options) -> ClassifierOptions:
    return ClassifierOptions(**{"encoder": "resnet10t", "pretrained": "never", **options})


OPTIONS = [
    tiny(),
    tiny(encoder="regnetx_002", stride=16),
    tiny(encoder="convnext_atto", pooling="average+max"),
    tiny(stride=16, attention="cbam", pooling="lse", dropout=0.2),
    tiny(masked=True, pooling="average+max"),
    tiny(consistency="puzzle"),
    tiny(consistency="cutmix", masked=True),
]


def _name(options: ClassifierOptions) -> str:
    changed = {key: value for key, value in vars(options).items() if value != getattr(tiny(), key)}
    return "-".join(f"{key}={value}" for key, value in changed.items()) or "plain"


@pytest.mark.parametrize("options", OPTIONS, ids=_name)
def test_keeps_the_contract_learns_and_is_saved(options, tmp_path):
    torch.manual_seed(0)
    network = build_classifier(options, in_channels=4, classes=3)
    assert (network.in_channels, network.classes, network.rank, network.stride) == (4, 3, 2, (options.stride,) * 2)
    x, masks = torch.rand(2, 4, 64, 128), torch.ones(2, 1, 64, 128) if options.masked else None

    outputs = network.train()(x, masks)
    assert outputs.logits.shape == (2, 3, 64 // options.stride, 128 // options.stride)
    assert outputs.image_logits.dtype == torch.float32
    build_label_loss(LabelLossOptions())(outputs, torch.eye(3)[:2]).backward()
    lost = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not lost
    assert next(network.parameters()).grad.abs().max() > 0

    save_file(network.state_dict(), tmp_path / "w.safetensors")
    again = build_classifier(options, in_channels=4, classes=3)
    again.load_state_dict(load_file(tmp_path / "w.safetensors"))
    with torch.inference_mode():
        saved, own = again.eval()(x), network.eval()(x)
    assert own.image_logits.shape == (2, 3)
    assert own.deep == ()
    torch.testing.assert_close(saved.image_logits, own.image_logits)
    torch.testing.assert_close(saved.logits, own.logits)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["inception_v3", "efficientnet_b3"])
def test_published_encoders(encoder):
    network = build_classifier(tiny(encoder=encoder, attention="cbam"), in_channels=4, classes=19).eval()
    with torch.inference_mode():
        outputs = network(torch.zeros(1, 4, 256, 256))
    assert outputs.image_logits.shape == (1, 19)
    assert min(outputs.logits.shape[2:]) >= 6


def test_image_logits_are_pooled_maps_whatever_the_sides():
    """65 × 100 at stride 32 is filled up to 96 × 128; the image covers 1/32 of its last row and 1/8 of its last column."""
    network = build_classifier(tiny(), 3, 2).eval()
    x = torch.rand(1, 3, 65, 100)
    with torch.inference_mode():
        outputs = network(x)
    assert outputs.logits.shape == (1, 2, 3, 4)
    shares = torch.tensor([1, 1, 1 / 32])[:, None] * torch.tensor([1, 1, 1, 1 / 8])
    expected = (outputs.logits * shares).sum((2, 3)) / shares.sum()
    torch.testing.assert_close(outputs.image_logits, expected)


def test_masks_come_as_an_argument_or_as_the_last_channel():
    network = build_classifier(tiny(masked=True), 3, 2).eval()
    x, masks = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    masks[..., :32] = 1
    with torch.inference_mode():
        outputs = network(x, masks)
        torch.testing.assert_close(outputs.image_logits, outputs.logits[..., 0].mean(2))
        torch.testing.assert_close(network(torch.cat([x, masks], 1)).image_logits, outputs.image_logits)
    with pytest.raises(ValueError, match=r"\(batch, 3, y, x\)"):
        build_classifier(tiny(), 3, 2)(torch.cat([x, masks], 1))


def test_runs_in_half_precision_channels_last():
    network = build_classifier(tiny(attention="cbam", pooling="lse"), 4, 2).to(memory_format=torch.channels_last)
    x = torch.rand(2, 4, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(x)
        loss = build_label_loss(LabelLossOptions())(outputs, torch.eye(2))
    loss.backward()
    assert outputs.image_logits.dtype == loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_published_first_layer_is_adapted(tmp_path, monkeypatch):
    """Three times as many equal channels give what the published layer gives of one."""
    torch.manual_seed(0)
    published = timm.create_model("resnet10t")
    save_file(published.state_dict(), tmp_path / "published.safetensors")
    real, overlay = timm.create_model, {"file": str(tmp_path / "published.safetensors")}
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: real(*a, **k, pretrained_cfg_overlay=overlay))
    network = build_classifier(tiny(pretrained="required"), 6, 2).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            network.encoder(torch.cat([x, x], 1)), published.eval().forward_features(x), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (tiny(encoder="resnet81"), "resnet18"),
        (tiny(encoder="vit_tiny_patch16_224"), "no feature maps.*such as resnet18"),
        (tiny(encoder="densenet121", stride=16), "set model.stride = 32"),
    ],
)
def test_an_encoder_that_cannot_names_some_that_can(options, message):
    with pytest.raises(RecipeError, match=message):
        build_classifier(options, 3, 2)


def test_weights_that_cannot_be_had(monkeypatch):
    real = timm.create_model

    def offline(*arguments, **named):
        if named.get("pretrained"):
            raise OSError("no hub here")
        return real(*arguments, **named)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DependencyError, match="no hub here"):
        build_classifier(tiny(pretrained="required"), 3, 2)
    with pytest.warns(UserWarning, match="random weights"):
        assert build_classifier(tiny(pretrained="preferred"), 3, 2).classes == 2
