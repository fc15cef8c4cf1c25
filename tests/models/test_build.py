"""Every architecture builds, keeps the contract, and says what would do when it is misused."""

import pytest
import torch

from malpighi.errors import DependencyError, RecipeError
from malpighi.models.build import ARCHITECTURES, ModelOptions, build_network


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("encoder", ["resnet10t", "mobilenetv3_small_050"])
def test_network_keeps_the_contract(architecture, encoder):
    network = build_network(ModelOptions(architecture, encoder, pretrained="never"), in_channels=3, classes=2).eval()
    assert (network.in_channels, network.classes, network.rank) == (3, 2, 2)
    with torch.inference_mode():
        outputs = network(torch.zeros(1, 3, 64, 96))
    assert outputs.logits.shape == (1, 2, 64, 96)
    assert outputs.deep == ()
    assert outputs.image_logits is None


def test_channels_are_free():
    options = ModelOptions("unet", "resnet10t", "never", decoder_channels=(32, 16, 16, 8, 8))
    network = build_network(options, in_channels=5, classes=1).eval()
    assert network(torch.zeros(1, 5, 32, 32)).logits.shape == (1, 1, 32, 32)


def test_bad_side_names_the_one_that_would_do():
    network = build_network(ModelOptions("unet", "resnet10t", "never"), in_channels=3, classes=1)
    with pytest.raises(ValueError, match=r"\(96, 128\) would do"):
        network(torch.zeros(1, 3, 65, 100))
    with pytest.raises(ValueError, match="takes \\(batch, 3, y, x\\)"):
        network(torch.zeros(1, 4, 64, 64))


def test_unknown_encoder_names_the_nearest():
    with pytest.raises(RecipeError, match="resnet18"):
        build_network(ModelOptions("unet", "resnet81", "never"), in_channels=3, classes=1)


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
