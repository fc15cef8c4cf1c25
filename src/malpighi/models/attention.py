"""Cbam and Scse: which channels and which places of a feature map matter."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Cbam(nn.Module):
    """Convolutional block attention (Woo et al. 2018, equations 2 and 3): channels first, then places.

    Channels: σ(MLP(mean over places) + MLP(maximum over places)), one MLP of `channels / reduction` hidden units for both.
    Places: σ(7 × 7 convolution of the mean and the maximum over channels). Each multiplies the features.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Weighed features of `x`, (batch, channel, y, x)."""
        pooled = self.channel(x.mean((2, 3), keepdim=True)) + self.channel(x.amax((2, 3), keepdim=True))
        x = x * pooled.sigmoid()
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.place(seen).sigmoid()


class Scse(nn.Module):
    """Concurrent squeeze and excitation (Roy et al. 2018), by channels and by places, added.

    That of segmentation-models-pytorch, but that no count of channels is too small to be squeezed.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.place = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weighed features of `x`, (batch, channel, y, x)."""
        return x * self.channel(x.mean((2, 3), keepdim=True)).sigmoid() + x * self.place(x).sigmoid()
