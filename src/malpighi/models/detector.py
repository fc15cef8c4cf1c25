"""Detectors of whole objects: those of `torchvision`, over the feature maps of any `timm` encoder."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from malpighi.errors import DependencyError, RecipeError
from malpighi.models.box_targets import TileBoxes, tile_boxes
from malpighi.models.boxes import BoxOptions
from malpighi.models.encoders import check_encoder, with_weights

STRIDES = (8, 16, 32)
"""Of the encoder's maps that the pyramid stands on; two coarser ones are made of the last."""
WIDTH = 128
"""Channels of the pyramid and of the heads: half of `torchvision`'s, whose images hold eighty classes."""
STEP = 32
"""Multiple of which images are padded to."""
SURE_NOT = -20.0
"""Logit that stands where nobody said what is there: as good as no object, and no gradient flows."""


def torchvision_detection() -> Any:
    """`torchvision.models.detection`.

    Raises:
        DependencyError: torchvision is absent, or was built for another torch.
    """
    try:
        from torchvision.models import detection
    except (ImportError, RuntimeError) as error:  # RuntimeError: its operators are missing in this build of torch
        reason = str(error).splitlines()[0][:200]
        raise DependencyError(
            f"boxes.kind needs torchvision, which cannot be imported ({reason}); install the one of this torch: "
            'pip install --force-reinstall torch torchvision, or set boxes.kind = "none"'
        ) from error
    return detection


class Answers(NamedTuple):
    """What a detector says in training: the heads' outputs by name, anchors an image, anchors a level."""

    heads: dict[str, Tensor]
    anchors: list[Tensor]
    per_level: list[int]


class Backbone(nn.Module):
    """Encoder and feature pyramid: maps at strides 8 to 128."""

    def __init__(self, encoder: nn.Module, channels: list[int]) -> None:
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelP6P7

        super().__init__()
        self.encoder = encoder
        self.pyramid = FeaturePyramidNetwork(channels, WIDTH, LastLevelP6P7(WIDTH, WIDTH))
        self.out_channels = WIDTH  # what torchvision asks of a backbone

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Maps of (batch, channel, y, x), fine to coarse."""
        maps = self.encoder(images)
        return self.pyramid(OrderedDict((str(level), each) for level, each in enumerate(maps)))


class AsTheyAre(nn.Module):
    """Stands where `torchvision` scales and enlarges images (to 800 pixels and more, also in evaluation): they are only padded to one size."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[Any, Any]:
        """(channel, y, x) images, each of its own size → an `ImageList` whose sides are multiples of `STEP`, and the targets."""
        from torchvision.models.detection.image_list import ImageList

        sizes = [(int(each.shape[-2]), int(each.shape[-1])) for each in images]
        height, width = (-(-max(sides) // STEP) * STEP for sides in zip(*sizes, strict=True))
        padded = [functional.pad(each, (0, width - w, 0, height - h)) for each, (h, w) in zip(images, sizes, strict=True)]
        return ImageList(torch.stack(padded), sizes), targets

    def postprocess(self, found: list[dict[str, Tensor]], shapes: Any, sizes: Any) -> list[dict[str, Tensor]]:
        """Boxes are in the images' own pixels already."""
        return found


class Detector(nn.Module):
    """A detector of `torchvision` that takes a batch of network input, not a list of images in 0 … 1.

    Attributes:
        net: the detector of `torchvision`.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Any:
        """Of (batch, channel, y, x): in training `Answers`, else a list of {"boxes", "scores", "labels"}, an image each."""
        if not self.training:
            return self.net(list(images))
        padded, _ = self.net.transform(list(images))
        features = list(self.net.backbone(padded.tensors).values())
        heads = self.net.head(features)
        anchors = self.net.anchor_generator(padded, features)
        return Answers(heads, anchors, [each.shape[2] * each.shape[3] for each in features])


def build_detector(options: BoxOptions, channels: int, classes: int, pretrained: str = "never") -> Detector:
    """The detector of `options`.

    Args:
        options: `kind` is not "none".
        channels: of the image.
        classes: of objects.
        pretrained: "preferred", "required" or "never": published weights of the encoder.

    Raises:
        RecipeError: no such encoder, or one without feature maps at strides 8, 16 and 32.
        DependencyError: torchvision cannot be imported, or "required" weights cannot be had.
    """
    detection = torchvision_detection()
    backbone = Backbone(*_encoder(options.encoder, channels, pretrained))
    net = _MAKERS[options.kind](detection, backbone, classes)
    net.transform = AsTheyAre()
    return Detector(net)


def _encoder(name: str, channels: int, pretrained: str) -> tuple[nn.Module, list[int]]:
    import timm

    try:
        check_encoder(name)
    except RecipeError as error:
        raise RecipeError(str(error).replace("model.encoder", "boxes.encoder")) from error

    def make(weights: bool, **more: Any) -> Any:
        return timm.create_model(name, pretrained=weights, features_only=True, in_chans=channels, **more)

    try:
        reductions = make(False).feature_info.reduction()
    except (AttributeError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise _unfit(name, reason) from error
    if not set(STRIDES) <= set(reductions):
        raise _unfit(name, f"its maps are of strides {', '.join(map(str, reductions))}")
    levels = tuple(reductions.index(stride) for stride in STRIDES)
    body = None
    if pretrained != "never":
        body = with_weights(lambda: make(True, out_indices=levels), name, pretrained)
    if body is None:
        body = make(False, out_indices=levels)
    return body, list(body.feature_info.channels())


def _unfit(name: str, reason: str) -> RecipeError:
    return RecipeError(
        f"boxes.encoder {name!r}: a detector needs feature maps at strides 8, 16 and 32 ({reason}); choose one such as resnet18, "
        "regnetx_002, efficientnet_b0 or convnext_tiny"
    )


def _fcos(detection: Any, backbone: Backbone, classes: int) -> Any:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(tuple((8 << level,) for level in range(5)), ((1.0,),) * 5)  # the strides, as FCOS wants them
    return detection.FCOS(backbone, classes, anchor_generator=anchors, score_thresh=0.05)


def _retinanet(detection: Any, backbone: Backbone, classes: int) -> Any:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNetHead

    sizes = tuple(tuple(round((32 << level) * 2 ** (third / 3)) for third in range(3)) for level in range(5))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    norm = partial(nn.GroupNorm, 32)
    head = RetinaNetHead(WIDTH, anchors.num_anchors_per_location()[0], classes, norm_layer=norm)
    return detection.RetinaNet(backbone, classes, anchor_generator=anchors, head=head)


_MAKERS: dict[str, Callable[[Any, Backbone, int], Any]] = {"fcos": _fcos, "retinanet": _retinanet}


class DetectorLoss:
    """The detector's own losses, summed, of a target of class layers: its boxes are found here.

    Where nobody said what is there an anchor learns nothing of that class, unless it stands for an object: of one that is smaller
    than any anchor these are all that lie over it, many with their centres beside it.
    """

    def __init__(self, detector: Detector) -> None:
        self.net = detector.net

    def __call__(self, outputs: Answers, target: Tensor, facts: Any = None) -> Tensor:
        """One number of `Answers` and (batch, class, y, x) layers, see `tile_boxes`."""
        found = [tile_boxes(layers) for layers in target.cpu().numpy()]
        device = outputs.heads["cls_logits"].device
        wanted = [
            {"boxes": torch.from_numpy(tile.boxes).to(device), "labels": torch.from_numpy(tile.labels).to(device)}
            for tile in found
        ]
        with torch.autocast(device.type, enabled=False):
            heads = {name: each.float() for name, each in outputs.heads.items()}
            unknown = [
                _at(tile, anchors) & ~self._matched(objects, anchors, len(tile.unknown))
                for tile, objects, anchors in zip(found, wanted, outputs.anchors, strict=True)
            ]
            heads["cls_logits"] = heads["cls_logits"].masked_fill(torch.stack(unknown), SURE_NOT)
            more = (outputs.per_level,) if hasattr(self.net, "center_sampling_radius") else ()
            losses = self.net.compute_loss(wanted, heads, outputs.anchors, *more)
            return torch.stack(list(losses.values())).sum()

    def _matched(self, objects: dict[str, Tensor], anchors: Tensor, classes: int) -> Tensor:
        """(anchor, class) bool: which anchors RetinaNet takes for which objects; of FCOS they lie within them anyhow."""
        from torchvision.ops import box_iou

        found = torch.zeros(len(anchors), classes, dtype=torch.bool, device=anchors.device)
        if hasattr(self.net, "proposal_matcher") and len(objects["boxes"]):
            numbers = self.net.proposal_matcher(box_iou(objects["boxes"], anchors))
            taken = numbers >= 0
            found[taken, objects["labels"][numbers[taken]]] = True
        return found


def _at(tile: TileBoxes, anchors: Tensor) -> Tensor:
    """(anchor, class) bool: whether nobody said what is at the centre of each anchor; beyond the tile nobody did."""
    _, height, width = tile.unknown.shape
    centres = ((anchors[:, :2] + anchors[:, 2:]) / 2).cpu().numpy()
    x, y = np.floor(centres.T).astype(np.int64)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    unknown = tile.unknown[:, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].T
    return torch.from_numpy(unknown | ~inside[:, None]).to(anchors.device)
