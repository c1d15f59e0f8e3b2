"""Blending: weights, statistics, and networks that cannot be blended."""

import dataclasses

import numpy as np
import pytest
import torch

from edge.errors import DataError
from tests.support.tiny_training import SIDE, TINY
from tools.network.factory import make_network
from tools.simulation.card_images import CardImages
from tools.training.blend import blended
from tools.training.checkpoint import StageRecord, TrainedNetwork


def trained(seed, **changes):
    torch.manual_seed(seed)
    network = make_network(dataclasses.replace(TINY, **changes)).eval()
    return TrainedNetwork(network, SIDE, 1, ("T2",), (StageRecord("warm", {}, 1, 1.0, 4, "a test"),), whitened=False)


@pytest.fixture
def cards():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 352, 252, 3), dtype=np.uint8)
    return CardImages(("a", "b", "c", "d"), ("T1",) * 4, pixels, np.arange(4))


@pytest.fixture
def backgrounds():
    return [np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)]


def test_weights_are_the_mean_and_statistics_are_measured(cards, backgrounds, monkeypatch):
    monkeypatch.setattr("tools.training.blend.STATISTICS_VIEWS", 8)
    first, second = trained(1), trained(2)
    blend = blended(first, second, cards, backgrounds, share=0.25)
    stem = [one.network.state_dict()["stem.weight"] for one in (first, second, blend)]
    assert torch.allclose(stem[2], 0.75 * stem[0] + 0.25 * stem[1], atol=1e-6)
    means = [one.network.state_dict()["stem_norm.running_mean"] for one in (first, second, blend)]
    assert not torch.allclose(means[2], 0.75 * means[0] + 0.25 * means[1], atol=1e-3)
    assert not torch.allclose(second.network.state_dict()["stem.weight"], stem[2]), "the second network stays as it is"
    assert [record.stage for record in blend.stages] == ["warm", "blend"]
    assert not blend.network.training


def test_only_networks_of_one_shape_and_not_whitened_can_be_blended(cards, backgrounds):
    with pytest.raises(DataError, match="neither whitened"):
        blended(trained(1), trained(2, dim=TINY.dim * 2), cards, backgrounds)
    with pytest.raises(DataError, match="neither whitened"):
        blended(dataclasses.replace(trained(1), whitened=True), trained(2), cards, backgrounds)
