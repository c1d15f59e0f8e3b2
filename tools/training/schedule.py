"""The schedule of a training run: its budget, its image sizes, its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ResolutionPhase:
    """A part of the budget at one image size: ``side`` pixels, ``batch`` samples over all processes.

    The part is ``share`` divided by the sum of all shares.
    """

    side: int
    batch: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Budget, image sizes and optimizer settings of a run; saved in the checkpoint under these names. Set either ``minutes`` or ``steps``.

    The learning rate warms up linearly over ``warm_up`` of the budget and falls along half a cosine to ``final_rate_share``.
    ``cutmix`` is the probability of mixing a batch, ``pictures`` the image sizes in order.
    """

    pictures: tuple[ResolutionPhase, ...] = field(default=(ResolutionPhase(112, 48),))
    minutes: float | None = None
    steps: int | None = None
    learning_rate: float = 1.2e-3
    final_rate_share: float = 0.02
    warm_up: float = 0.02
    weight_decay: float = 0.02
    gradient_norm: float = 2.0
    ema_decay: float = 0.998
    cutmix: float = 0.0
    seed: int = 1
    threads: int = 2
    workers: int = 1
    save_every_s: float = 240.0

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the used share of the budget; slightly above 1 after the last step of a budget in minutes."""
        if self.steps is not None:
            return step / self.steps
        if self.minutes is None:
            raise ValueError("a schedule needs a budget in minutes or in steps")
        return elapsed_s / (60.0 * self.minutes)

    def remaining_s(self, step: int, elapsed_s: float) -> float:
        """Return the estimated remaining time in seconds; infinite before the first step."""
        used = self.progress(step, elapsed_s)
        return max(0.0, elapsed_s * (1.0 / used - 1.0)) if used > 0.0 else math.inf

    def phase_at(self, used: float) -> ResolutionPhase:
        """Return the phase that is active when the share ``used`` of the budget is spent."""
        total = sum(part.share for part in self.pictures)
        end = 0.0
        for part in self.pictures:
            end += part.share / total
            if used < end - 1e-9:
                return part
        return self.pictures[-1]

    def learning_rate_at(self, used: float) -> float:
        """Return the learning rate when the share ``used`` of the budget is spent."""
        used = min(1.0, used)
        if used < self.warm_up:
            return self.learning_rate * (used + 1e-3) / (self.warm_up + 1e-3)
        left = 0.5 * (1.0 + math.cos(math.pi * (used - self.warm_up) / (1.0 - self.warm_up)))
        return self.learning_rate * (self.final_rate_share + (1.0 - self.final_rate_share) * left)
