"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """The network that is validated and saved: weights averaged over steps, young averages faster.

    The decay at step n is min(decay, (1 + n) / (10 + n)), so that random first weights are soon forgotten. With decay 0
    the average is the network itself.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).requires_grad_(False).eval() if decay else network

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after an optimiser step."""
        if not self.decay:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        own, new = self.network.state_dict(), network.state_dict()
        floating = [key for key, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[k] for k in floating], [new[k] for k in floating], 1 - decay)
        for key in own.keys() - set(floating):
            own[key].copy_(new[key])

    def state_dict(self) -> dict:
        """What a checkpoint must hold."""
        return {"updates": self.updates, "network": self.network.state_dict() if self.decay else None}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a checkpoint."""
        self.updates = state["updates"]
        if self.decay:
            self.network.load_state_dict(state["network"])
