"""All networks: any training size, unit vectors, folding that does not change the result, whitening as a linear map."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from edge.errors import DataError
from tests.support.tiny_training import FOUR_STAGES, FOUR_STAGES_REGNET
from tools.network.contract import parameter_count
from tools.network.embed_images import embed_images
from tools.network.factory import make_network, settings_from
from tools.network.head import POOL_TO_3X3, LayoutHead
from tools.network.regnet import Bottleneck
from tools.network.settings import BY_NAME, ConvNextSettings, RegNetSettings
from tools.training.whiten import apply_to_output, whitening

NETWORKS = [FOUR_STAGES, dataclasses.replace(FOUR_STAGES, norm="layer"), FOUR_STAGES_REGNET]


@pytest.mark.parametrize("settings", NETWORKS)
@pytest.mark.parametrize("side", [96, 112, 128, 160, 192, 224])
def test_the_network_accepts_every_training_size(settings, side):
    network = make_network(settings).eval()
    vectors = network(torch.full((2, 3, side, side), 100.0))
    assert vectors.shape == (2, 768)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_real_network_fits_into_sixty_megabytes_of_half_precision():
    with torch.device("meta"):
        count = parameter_count(make_network(ConvNextSettings()))
    assert 27_000_000 < count < 29_900_000


def test_the_plain_network_has_the_published_number_of_weights():
    """9.19 million with a classifier of 1,000 classes (the paper, table 14); this one has none, but biases before BatchNorms."""
    with torch.device("meta"):
        network = make_network(RegNetSettings())
    trunk = parameter_count(network) - parameter_count(network.head)
    biases = sum(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)) - 96 - 768
    assert trunk - biases + 912 * 1000 + 1000 == pytest.approx(9.19e6, rel=2e-3)


def unsettled(settings):
    """Return a network whose norms are far from the identity, as after training."""
    torch.manual_seed(0)
    network = make_network(settings)
    for block in network.modules():
        if isinstance(block, Bottleneck):
            nn.init.ones_(block.leave.norm.weight)
    for _ in range(3):
        network(torch.rand(4, 3, 96, 96) * 255.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return network.eval()


@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize("settings", NETWORKS)
def test_folding_changes_nothing(settings, shrink):
    network = unsettled(settings)
    pixels = torch.rand(2, 3, 224, 224) * 255.0
    with torch.inference_mode():
        before = network(nn.functional.avg_pool2d(pixels, shrink))
        network.fold(shrink)
        after = network.embed(pixels)
    assert torch.allclose(before, after, atol=2e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("side", POOL_TO_3X3)
def test_the_deployed_head_is_equivalent_to_the_trained_one(side):
    torch.manual_seed(1)
    head = LayoutHead(24, 6, 16)
    maps = torch.randn(3, 24, side, side)
    with torch.inference_mode():
        assert torch.allclose(head.deployed()(maps), head(maps), atol=1e-5)


@pytest.mark.parametrize("settings", NETWORKS)
def test_settings_come_back_from_a_checkpoint(settings):
    assert settings_from(dataclasses.asdict(settings)) == settings


def test_a_network_of_another_version_is_named():
    with pytest.raises(DataError, match="does not know"):
        settings_from({"kind": "perceptron"})


def test_every_named_network_can_be_made():
    with torch.device("meta"):
        assert {name: make_network(settings).settings for name, settings in BY_NAME.items()} == BY_NAME


@pytest.mark.parametrize("settings", [dataclasses.replace(settings, dim=64) for settings in (FOUR_STAGES, FOUR_STAGES_REGNET)])
def test_whitening_is_a_linear_map_of_the_output(dataset, settings):
    network = unsettled(settings)
    images = list(dataset.cards.pixels)
    clean, views = embed_images(network, images, 96), embed_images(network, [cv2.GaussianBlur(card, (0, 0), 3) for card in images], 96)
    matrix = whitening(clean, views)
    apply_to_output(network, matrix)
    mapped = clean @ matrix.T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    assert np.sum(embed_images(network, images, 96) * mapped, axis=1).min() > 0.995


def test_whitening_reduces_the_similarity_that_all_cards_share():
    random = np.random.default_rng(0)
    own = random.standard_normal((200, 32)).astype(np.float32)
    shared = 12.0 * random.standard_normal((200, 1)).astype(np.float32) * np.eye(1, 32, dtype=np.float32)
    clean = own + shared
    views = clean + 0.3 * random.standard_normal((200, 32)).astype(np.float32)

    def alike(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float(np.abs(unit @ unit.T)[np.triu_indices(200, 1)].mean())

    assert alike(clean @ whitening(clean, views)) < 0.5 * alike(clean)
