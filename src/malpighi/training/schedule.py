"""Learning rate as a function of the step."""

from __future__ import annotations

import math

from malpighi.training.options import OptimOptions

PLATEAU_FACTOR = 0.1**0.5  # two falls make a tenth
PLATEAU_PATIENCE = 3  # validations


POLY_POWER = 0.9
OWN = {"one-cycle": (0.3, 1 / 25)}  # share of the way up, and where it begins, of Smith & Topin (2018)
OWN_OF_OTHERS = (0.05, 0.0)


class Schedule:
    """Learning rate at any step; only "plateau" remembers anything.

    Args:
        options: shape and rates.
        steps: optimiser steps of the whole run.
    """

    def __init__(self, options: OptimOptions, steps: int) -> None:
        self.options = options
        self.steps = max(1, steps)
        self.factor = 1.0
        self.best = -math.inf
        self.stalled = 0
        warmup, first = OWN.get(options.schedule, OWN_OF_OTHERS)
        self.warmup = warmup if options.warmup == -1 else options.warmup
        self.first = first if options.first == -1 else options.first

    def rate(self, step: int) -> float:
        """Rate for optimiser step `step`, counted from 0."""
        o = self.options
        if o.schedule == "one-cycle":
            return o.rate * self._one_cycle((step + 1) / self.steps)
        warmup = round(self.warmup * self.steps)
        if step < warmup:
            return o.rate * (self.first + (1 - self.first) * (step + 1) / warmup)
        if o.schedule in ("plateau", "constant"):
            return o.rate * self.factor
        done = min(1.0, (step - warmup) / max(1, self.steps - 1 - warmup))
        left = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "poly": (1 - done) ** POLY_POWER}[o.schedule]
        return o.rate * (o.final + (1 - o.final) * left)

    def _one_cycle(self, done: float) -> float:
        """Smith & Topin (2018) with cosine arms: from `first` up over the first `warmup`, then down to `final`; momentum stays as it is."""
        low, peak, final = self.first, self.warmup, self.options.final
        if done < peak:
            return low + (1 - low) * (1 - math.cos(math.pi * done / peak)) / 2
        down = (done - peak) / (1 - peak) if peak < 1 else 0.0
        return final + (1 - final) * (1 + math.cos(math.pi * min(1.0, down))) / 2

    def report(self, score: float) -> None:
        """Tell the schedule a validation score (higher is better); "plateau" lowers the rate when it stalls."""
        if score > self.best + 1e-4:
            self.best, self.stalled = score, 0
            return
        self.stalled += 1
        if self.options.schedule == "plateau" and self.stalled >= PLATEAU_PATIENCE:
            self.factor, self.stalled = max(self.factor * PLATEAU_FACTOR, self.options.final), 0

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint must hold."""
        return {"factor": self.factor, "best": self.best, "stalled": self.stalled}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.factor, self.best, self.stalled = state["factor"], state["best"], int(state["stalled"])
