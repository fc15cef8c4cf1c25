"""Encoders of `timm`: whether one is known, its published weights where they can be had, and one that ends in feature maps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from malpighi.errors import DependencyError, RecipeError

if TYPE_CHECKING:
    from torch import nn

_PROBE = 160  # px: inception_v3 takes no less than 75, and 160 is a multiple of 32


def check_encoder(name: str) -> None:
    """Stop at an encoder that `timm` does not know; the message names near ones.

    Raises:
        RecipeError: no such encoder.
    """
    import difflib

    import timm

    if timm.is_model(name):
        return
    if name.startswith("mit_b"):
        raise RecipeError(
            f"model.encoder {name!r} is not a timm model: the licence of SegFormer's own encoders forbids most uses; take its near "
            f"relative pvt_v2_b{name[5:6] if name[5:6] in '12345' else 0}"
        )
    near = difflib.get_close_matches(name.split(".", maxsplit=1)[0], timm.list_models(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `timm.list_models()` lists them"
    raise RecipeError(f"model.encoder {name!r} is not a timm model{hint}")


def build_with_encoder(make: Callable[..., Any], encoder: str, pretrained: str, in_channels: int, architecture: str) -> Any:
    """A network of segmentation-models-pytorch round a `timm` encoder, with published weights where they are wanted and can be had.

    Args:
        make: (encoder_weights, **arguments of the encoder) → network.
        encoder: name of the `timm` model.
        pretrained: "preferred", "required" or "never".
        in_channels: of the image.
        architecture: for messages.

    Raises:
        RecipeError: no such encoder, or one that does not fit under this decoder or takes images of one size only.
        DependencyError: "required" weights that cannot be had.
    """
    check_encoder(encoder)
    own = {"strict_img_size": False} if encoder.startswith("swin") else {}
    body = with_weights(lambda: make(True, **own), encoder, pretrained) if pretrained != "never" else None
    if body is None:
        try:
            body = make(None, **own)
        except (TypeError, AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
            need = (
                "that can leave out their last halving" if architecture == "deeplabv3+" else "with feature maps at five scales"
            )
            if "drop_path_rate" in reason:
                raise RecipeError(
                    f"model.drop_path: {encoder} has no blocks that can be left out; set it to 0, or choose an encoder such as resnet18, "
                    "regnety_016 or convnext_tiny"
                ) from error
            raise RecipeError(
                f"model: {architecture} of {encoder} cannot be built ({reason}); choose one of the encoders {need}, such as resnet18, "
                "regnety_016 or convnext_tiny"
            ) from error
    if encoder.startswith("coat"):
        from malpighi.models.coat import adapt_coat

        adapt_coat(body.encoder)
    _require_any_size(body.encoder, encoder, in_channels)
    return body


def _require_any_size(body: Any, name: str, in_channels: int) -> None:
    """Try a small image that is not square: some encoders take images of the one size that they were published for."""
    import torch

    was, side = body.training, (64, 96)
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, in_channels, *side, device=next(body.parameters()).device))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _one_size(name, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    finally:
        body.train(was)
    steps = [min(2**i, body.output_stride) for i in range(len(features))]
    if any(tuple(x.shape[2:]) != (side[0] // step, side[1] // step) for x, step in zip(features, steps, strict=True)):
        raise _one_size(name, f"of {side} it gives {', '.join(str(tuple(x.shape[2:])) for x in features[1:])}")


def _one_size(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"model.encoder {name!r} does not halve images of any size ({reason}), as a decoder wants it; choose one such as resnet18, "
        "efficientnet_b0, convnext_tiny or pvt_v2_b1"
    )


def with_weights(make: Callable[[], Any], encoder: str, pretrained: str) -> Any:
    """What `make` makes with published encoder weights, or None (warned) where they cannot be had.

    Raises:
        DependencyError: they cannot be had, and `pretrained` is "required".
    """
    try:
        with _quick_hub():
            return make()
    except Exception as error:  # the hub, timm and torch each raise their own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if pretrained == "required":
            raise DependencyError(
                f'model.pretrained = "required", but the weights of {encoder} cannot be had ({reason}); '
                'connect to the model hub once, or set model.pretrained = "preferred"'
            ) from error
        warnings.warn(f"no pretrained weights for {encoder} ({reason}): training starts from random weights", stacklevel=3)
        return None


@contextmanager
def _quick_hub() -> Iterator[None]:
    """Use what is cached, without minutes of retries, where the model hub cannot be reached."""
    import socket
    from urllib.parse import urlparse

    from huggingface_hub import constants

    was = constants.HF_HUB_OFFLINE
    try:
        host = urlparse(constants.ENDPOINT).hostname or "huggingface.co"
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was


def map_encoder(name: str, pretrained: str, in_channels: int, stride: int) -> tuple[nn.Module, int, float]:
    """The network `name` up to the features that its own classifier pools, as maps; their channels; and their `Footprint.origin`.

    For other than 3 input channels `timm` adapts the published first layer, see `ModelOptions.pretrained`.

    Args:
        name: of a `timm` model.
        pretrained: "preferred", "required" or "never".
        in_channels: of the image.
        stride: of the maps; 16 trades the last halving for dilation.

    Raises:
        RecipeError: no such model, none that gives feature maps at any size of image, or none at this stride.
        DependencyError: "required" weights that cannot be had.
    """
    import timm

    check_encoder(name)

    def make(weights: bool) -> Any:
        at = {} if stride == 32 else {"output_stride": stride}
        return timm.create_model(name, pretrained=weights, in_chans=in_channels, num_classes=0, global_pool="", **at)

    body = with_weights(lambda: make(True), name, pretrained) if pretrained != "never" else None
    if body is None:
        try:
            body = make(False)
        except (TypeError, AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            raise _unfit(name, stride, error) from error
    return body, *_probed(body, name, in_channels, stride)


def _probed(body: nn.Module, name: str, in_channels: int, stride: int) -> tuple[int, float]:
    """Channels of the feature maps that `body` gives, and where they lie, found by trying a small image."""
    import torch

    from malpighi.models.footprint import Footprint

    was = body.training
    footprint = Footprint()
    try:
        with torch.inference_mode(), footprint.following(body):
            features = body.eval()(torch.zeros(1, in_channels, _PROBE, _PROBE))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _mapless(name, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    finally:
        body.train(was)
    shape = tuple(features.shape)
    steps = _PROBE // stride
    if len(shape) != 4 or max(shape[2:]) > 2 * steps or shape[2] != shape[3]:
        raise _mapless(name, f"it gives {shape} for an image of {_PROBE} × {_PROBE}")
    if shape[2] < steps // 2:
        raise RecipeError(
            f"model.encoder {name!r} gives maps of {shape[2]} × {shape[3]} for an image of {_PROBE} × {_PROBE}, too coarse for "
            f"model.stride = {stride}; choose one such as resnet18, efficientnet_b0 or convnext_tiny"
        )
    return shape[1], footprint.origin


def _mapless(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"model.encoder {name!r} gives no feature maps of images of any size ({reason}); choose a convolutional one such as "
        "resnet18, efficientnet_b0, convnext_tiny, regnetx_002 or inception_v3"
    )


def _unfit(name: str, stride: int, error: Exception) -> RecipeError:
    if stride != 32:
        return RecipeError(
            f"model.stride {stride}: {name!r} cannot leave out its last halving; set model.stride = 32, or choose an encoder "
            "that can, such as resnet18, regnetx_002, efficientnet_b0 or convnext_tiny"
        )
    return RecipeError(f"model.encoder {name!r} cannot be built ({error}); choose one such as resnet18 or efficientnet_b0")
