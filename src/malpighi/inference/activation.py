"""Class activation maps of one view of images: CAM, Grad-CAM, Grad-CAM++, coarse as the network's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from malpighi.models.classifier import Classifier

Method = Callable[[Classifier, Tensor, Tensor | None, bool, Sequence[int]], Tensor]
"""(network, images with sides that fit, masks, softmax, classes) → (batch, class, coarse y, x) of 0 … 1."""


def cam(network: Classifier, x: Tensor, masks: Tensor | None, softmax: bool, classes: Sequence[int]) -> Tensor:
    """The network's own maps (Zhou et al. 2016: weights of the head × features), with the head's bias, as probabilities."""
    return _probability(network.maps(x), softmax)[:, list(classes)]


def grad_cam(network: Classifier, x: Tensor, masks: Tensor | None, softmax: bool, classes: Sequence[int]) -> Tensor:
    """Selvaraju et al. 2017: a channel weighs as much as the mean over places of the logit's gradient along it."""
    return _weighed(network, x, masks, softmax, classes, lambda _, gradient: gradient.mean((2, 3), keepdim=True))


def grad_cam_plus_plus(network: Classifier, x: Tensor, masks: Tensor | None, softmax: bool, classes: Sequence[int]) -> Tensor:
    """Chattopadhay et al. 2018, equations 10 and 19, of the score exp(logit), whose derivatives are powers of the gradient.

    The factor exp(logit) itself is the same of every channel and goes with the normalisation.
    """
    return _weighed(network, x, masks, softmax, classes, _second_order)


METHODS: dict[str, Method] = {"cam": cam, "grad-cam": grad_cam, "grad-cam++": grad_cam_plus_plus}
"""By `MapOptions.method`."""


def _probability(logits: Tensor, softmax: bool) -> Tensor:
    return logits.float().softmax(1) if softmax else logits.float().sigmoid()


def _second_order(features: Tensor, gradient: Tensor) -> Tensor:
    below = 2 * gradient**2 + features.sum((2, 3), keepdim=True) * gradient**3
    shares = torch.where(below != 0, gradient**2 / torch.where(below != 0, below, 1), 0)
    return (shares * gradient.relu()).sum((2, 3), keepdim=True)


def _weighed(
    network: Classifier,
    x: Tensor,
    masks: Tensor | None,
    softmax: bool,
    classes: Sequence[int],
    weigh: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Positive part of features × channels' weights, brought to a maximum of 1, × the class's probability in the image."""
    features = network.features(x).float().detach()
    with torch.enable_grad():
        features.requires_grad_()
        logits = network.pool(network.head(features), masks)
        totals = logits.sum(0)  # images do not touch each other, so one pass gives the gradient of each
        gradients = [torch.autograd.grad(totals[c], features, retain_graph=True)[0] for c in classes]
    features = features.detach()
    seen = torch.stack([(weigh(features, gradient) * features).sum(1).relu() for gradient in gradients], 1)
    top = seen.amax((2, 3), keepdim=True)
    likely = _probability(logits.detach(), softmax)[:, list(classes), None, None]
    return likely * seen / torch.where(top > 0, top, 1)
