"""Defaults and choices shared by the command line and the training stages. Needs no PyTorch."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from tools.network.settings import ConvNextSettings, NetworkSettings, PublishedSettings

SERVER_SIDE: Final = 518

LossName: TypeAlias = Literal["mse", "relational", "contrastive"]

LOSSES: Final[tuple[LossName, ...]] = ("mse", "relational", "contrastive")

STUDENTS: Final[dict[str, tuple[NetworkSettings, int]]] = {
    "hailo": (ConvNextSettings(), 224),
    "ios": (PublishedSettings(model="convnext_base", side=384), 384),
    "android": (PublishedSettings(model="vit_small_patch16_224", side=224, patch=16), 224),
}
"""Settings of each student's network and the side of its images in pixels. The fourth student, ``server``: see ``server_student``."""

BLEND_SHARE: Final = 0.5

TEACHER = PublishedSettings(model="vit_large_patch16_dinov3", side=224, patch=16, hidden=768, dropout=0.1)
