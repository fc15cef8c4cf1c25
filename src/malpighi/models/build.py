"""A recipe's [model] → network. This file names the parts; the networks live beside it and are imported when built."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from malpighi.errors import DependencyError, RecipeError

if TYPE_CHECKING:
    from malpighi.models.unet2d import EncoderDecoder

Pretrained = Literal["preferred", "required", "never"]


@dataclass(frozen=True)
class ModelOptions:
    """Which network.

    Attributes:
        architecture: decoder, a key of `ARCHITECTURES`.
        encoder: any `timm` model that gives feature maps ("resnet18", "convnext_tiny", …).
        pretrained: "preferred" warns and goes on with random weights where none can be had; "required" stops; "never".
        decoder_channels: width of the decoder, coarse to fine (U-Net: one number a stage); empty: the architecture's own.
        dropout: share of decoder features dropped while training.
        slices_in: 0 for images; for volumes the number of neighbouring slices a 2-D network sees.
        slices_out: for how many of them, the central ones, it answers: 1 or all.
    """

    architecture: Literal["unet", "fpn"] = "unet"
    encoder: str = "resnet18"
    pretrained: Pretrained = "preferred"
    decoder_channels: tuple[int, ...] = ()
    dropout: float = 0.0
    slices_in: int = 0
    slices_out: int = 1


def _unet(options: ModelOptions) -> dict[str, object]:
    extra: dict[str, object] = {"decoder_channels": options.decoder_channels} if options.decoder_channels else {}
    return {"arch": "unet", **extra}


def _fpn(options: ModelOptions) -> dict[str, object]:
    if len(options.decoder_channels) > 1:
        raise RecipeError(f"model.decoder_channels {options.decoder_channels}: fpn takes one number, the pyramid's width")
    extra: dict[str, object] = {"decoder_pyramid_channels": options.decoder_channels[0]} if options.decoder_channels else {}
    return {"arch": "fpn", "decoder_dropout": options.dropout, **extra}


ARCHITECTURES: dict[str, Callable[[ModelOptions], dict[str, object]]] = {"unet": _unet, "fpn": _fpn}


def build_network(options: ModelOptions, in_channels: int, classes: int) -> EncoderDecoder:
    """The network of `options` with `classes` independent output logits.

    Raises:
        RecipeError: no such encoder, or one without feature maps.
        DependencyError: `pretrained = "required"` and the weights cannot be had.
    """
    import segmentation_models_pytorch as smp

    from malpighi.models.unet2d import EncoderDecoder

    arguments = ARCHITECTURES[options.architecture](options)
    common = {"encoder_name": f"tu-{options.encoder}", "in_channels": in_channels, "classes": classes, **arguments}
    _check_encoder(options.encoder)
    body = None
    if options.pretrained != "never":
        body = _with_weights(lambda: smp.create_model(encoder_weights=True, **common), options)
    if body is None:
        try:
            body = smp.create_model(encoder_weights=None, **common)
        except ValueError as error:
            raise RecipeError(
                f"model: {options.architecture} of {options.encoder} cannot be built ({str(error).rstrip('.')}); choose an encoder with "
                "feature maps at five scales, such as resnet18, and as many decoder_channels"
            ) from error
    return EncoderDecoder(
        body, in_channels=in_channels, classes=classes, stride=int(body.encoder.output_stride), dropout=options.dropout
    )


def _check_encoder(name: str) -> None:
    import difflib

    import timm

    if timm.is_model(name):
        return
    near = difflib.get_close_matches(name.split(".", maxsplit=1)[0], timm.list_models(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `timm.list_models()` lists them"
    raise RecipeError(f"model.encoder {name!r} is not a timm model{hint}")


def _with_weights(make: Callable[[], object], options: ModelOptions):  # type: ignore[no-untyped-def]
    """The network with published encoder weights, or None (warned) where they cannot be had."""
    try:
        with _quick_hub():
            return make()
    except Exception as error:  # the hub, timm and torch each raise their own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if options.pretrained == "required":
            raise DependencyError(
                f'model.pretrained = "required", but the weights of {options.encoder} cannot be had ({reason}); '
                'connect to the model hub once, or set model.pretrained = "preferred"'
            ) from error
        warnings.warn(
            f"no pretrained weights for {options.encoder} ({reason}): training starts from random weights", stacklevel=3
        )
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
