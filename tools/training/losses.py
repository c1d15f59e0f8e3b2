"""Loss functions over unit vectors. Each row of a matrix is a vector; masks are true where a pair is excluded."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

EXCLUDED_LOGIT: Final = -1e4
"""Logit of an excluded pair."""


def similar_mask(targets: Tensor, others: Tensor, groups: Tensor, other_groups: Tensor, too_alike: float) -> Tensor:
    """Return bool (n, m), true for pairs that are not negatives: their cosine exceeds ``too_alike`` or they share an artwork group.

    ``targets`` (n, dim) and ``others`` (m, dim) are unit rows. Group -1 means no group.
    """
    same_artwork = (groups[:, None] == other_groups[None, :]) & (groups[:, None] >= 0)
    return (targets @ others.T > too_alike) | same_artwork


def cosine_distance(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of 1 - cosine over corresponding unit rows."""
    return (1.0 - (vectors * targets).sum(dim=1)).mean()


def info_nce(logits: Tensor, own: Tensor, excluded: Tensor) -> Tensor:
    """Return the mean cross-entropy of the columns ``own`` (n,) in the rows of ``logits`` (n, m), cosines divided by a temperature.

    InfoNCE (van den Oord et al. 2018, arXiv 1807.03748). ``excluded`` bool (n, m) removes columns, but never the own one.
    """
    hidden = excluded.clone()
    hidden[torch.arange(len(own), device=own.device), own] = False
    return functional.cross_entropy(logits.masked_fill(hidden, EXCLUDED_LOGIT), own)


def arc_face(cosines: Tensor, classes: Tensor, *, margin: float, scale: float, excluded: Tensor | None = None) -> Tensor:
    """Return the ArcFace loss (Deng et al. 2019, arXiv 1801.07698): the own angle must be smaller than all others by ``margin`` radians.

    ``cosines`` (n, classes), ``classes`` (n,). If the own angle plus the margin exceeds pi, the cosine is lowered by
    ``margin * sin(margin)`` instead, as in the authors' code, so that the loss stays monotonic.
    """
    if not len(classes):
        return cosines.sum() * 0.0
    cosines = cosines.clamp(-1.0 + 1e-6, 1.0 - 1e-6)
    own = cosines.gather(1, classes[:, None])
    turned = torch.cos(torch.arccos(own) + margin)
    turned = torch.where(own > -math.cos(margin), turned, own - math.sin(margin) * margin)
    logits = (scale * cosines).scatter(1, classes[:, None], scale * turned)
    if excluded is None:
        return functional.cross_entropy(logits, classes)
    return info_nce(logits, classes, excluded)


def mean_squared(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the squared distance of corresponding rows, averaged over the rows: twice the cosine distance for unit rows."""
    return (vectors - targets).square().sum(dim=1).mean()


def relational(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared difference of all pairwise cosines in the batch.

    Relational distillation (Park et al. 2019, arXiv 1904.05068; similarity-preserving form of Tung and Mori 2019, arXiv 1907.09682): the
    result does not change when the student rotates its whole embedding space.
    """
    others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    return ((vectors @ vectors.T - targets @ targets.T)[others]).square().mean()


def contrastive(vectors: Tensor, targets: Tensor, groups: Tensor, *, scale: float) -> Tensor:
    """Return the cross-entropy of the own target among those of the batch; other cards of the same artwork are excluded."""
    own = torch.arange(len(vectors), device=vectors.device)
    return info_nce(scale * vectors @ targets.T, own, groups[:, None] == groups[None, :])
