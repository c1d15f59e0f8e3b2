"""Published networks: timm's backbones as embedding networks, and timm's ConvNeXt weights in ``ConvNext``."""

import dataclasses
import sys

import pytest
import torch

from edge.errors import DataError
from tests.support.published_networks import TINY_VIT, import_timm
from tests.support.tiny_training import FOUR_STAGES, FOUR_STAGES_REGNET
from tools.extras import MissingExtraError
from tools.network import published
from tools.network.factory import make_network, settings_from
from tools.network.published import PublishedNetwork, load_published, nearest_side
from tools.network.settings import PublishedSettings
from tools.training.checkpoint import TrainedNetwork
from tools.training.defaults import SERVER_SIDE, TEACHER
from tools.training.distill import server_student


@pytest.fixture(scope="module")
def timm():
    return import_timm()


@pytest.fixture(scope="module")
def their_convnext(timm):
    torch.manual_seed(0)
    network = timm.create_model("convnext_tiny", pretrained=False, depths=FOUR_STAGES.depths, dims=FOUR_STAGES.widths, num_classes=7).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.fixture
def weights_file(their_convnext, tmp_path):
    torch.save({"model": their_convnext.state_dict()}, tmp_path / "convnext.pth")
    return tmp_path / "convnext.pth"


@pytest.mark.parametrize(("side", "patch", "nearest"), [(518, 16, 512), (518, 14, 518), (384, None, 384), (5, 16, 16)])
def test_the_server_s_side_is_a_multiple_of_the_patch(side, patch, nearest):
    assert nearest_side(side, patch) == nearest


def test_the_convnext_of_timm_gives_the_same_features_after_renaming(their_convnext, weights_file):
    ours = make_network(dataclasses.replace(FOUR_STAGES, norm="layer")).eval()
    head = ours.head.project.weight.clone()
    load_published(ours, str(weights_file))
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 255.0
    with torch.inference_mode():
        prepared = (pixels - ours.mean) / ours.std
        mine, theirs = ours.last_map(prepared), their_convnext.forward_features(prepared)
    assert mine.shape == theirs.shape
    assert float((mine - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())
    assert torch.equal(ours.final_norm.norm.weight, their_convnext.head.norm.weight)
    assert torch.equal(ours.head.project.weight, head)


def test_convnext_tiny_has_a_counterpart_for_each_weight_of_timm(timm):
    with torch.device("meta"):
        theirs = timm.create_model("convnext_tiny", pretrained=False, num_classes=0).state_dict()
        ours = make_network(dataclasses.replace(FOUR_STAGES, norm="layer", depths=(3, 3, 9, 3), widths=(96, 192, 384, 768))).state_dict()
    names = {published.our_name(name): value.numel() for name, value in theirs.items()}
    assert names == {name: value.numel() for name, value in ours.items() if not name.startswith("head.")}


def test_weights_of_another_network_are_refused_by_name(weights_file, tmp_path):
    wider = make_network(dataclasses.replace(FOUR_STAGES, norm="layer", widths=(8, 16, 16, 48)))
    with pytest.raises(DataError, match="another shape"):
        load_published(wider, str(weights_file))
    deeper = make_network(dataclasses.replace(FOUR_STAGES, norm="layer", depths=(1, 1, 2, 1)))
    with pytest.raises(DataError, match="lacks"):
        load_published(deeper, str(weights_file))
    with pytest.raises(DataError, match="LayerNorm"):
        load_published(make_network(FOUR_STAGES), str(weights_file))
    with pytest.raises(DataError, match="no published weights"):
        load_published(make_network(FOUR_STAGES_REGNET), str(weights_file))
    with pytest.raises(DataError, match="not a file of weights"):
        load_published(wider, str(tmp_path / "absent.pth"))


def test_safetensors_are_read_too(their_convnext, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors comes with timm")
    safetensors.save_file(their_convnext.state_dict(), tmp_path / "convnext.safetensors")
    load_published(make_network(dataclasses.replace(FOUR_STAGES, norm="layer")), str(tmp_path / "convnext.safetensors"))


def test_without_weights_and_internet_the_error_says_what_to_do(timm, monkeypatch):
    network = make_network(TINY_VIT)

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match="--weights"):
        load_published(network, "hub")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[teacher\]'"):
        make_network(TINY_VIT)


def test_a_published_backbone_is_an_embedding_network(timm):
    network = make_network(TINY_VIT).eval()
    assert isinstance(network, PublishedNetwork)
    assert settings_from(dataclasses.asdict(TINY_VIT)) == TINY_VIT
    assert torch.allclose(network.mean.flatten(), torch.full((3,), 127.5))
    pixels = torch.rand(2, 3, 128, 128) * 255.0
    with torch.inference_mode():
        before = network(torch.nn.functional.avg_pool2d(pixels, 2))
        network.fold(2)
        after = network.embed(pixels)
    assert before.shape == (2, 32)
    assert torch.allclose(before.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("last_blocks", [0, 2])
def test_only_the_head_and_the_last_blocks_learn(timm, last_blocks):
    network = make_network(TINY_VIT)
    network.train_only(last_blocks)
    learning = {name.split(".")[2] for name, value in network.named_parameters() if value.requires_grad and ".blocks." in name}
    assert learning == ({"1", "2"} if last_blocks else set())
    assert all(value.requires_grad for value in network.head.parameters())
    assert not network.backbone.patch_embed.proj.weight.requires_grad


def test_the_teacher_is_the_network_the_model_card_names(timm):
    with torch.device("meta"):
        backbone = timm.create_model(TEACHER.model, pretrained=False, num_classes=0, img_size=TEACHER.side)
    assert (backbone.num_features, len(backbone.blocks)) == (1024, 24)
    assert backbone.patch_embed.patch_size == (TEACHER.patch, TEACHER.patch)


def test_the_server_student_is_the_teacher_at_a_larger_size(timm):
    teacher = make_network(TINY_VIT).eval()
    larger = server_student(TrainedNetwork(teacher, 64, 1, (), (), whitened=False), 100)
    assert larger.settings.side == 96
    assert larger(torch.rand(1, 3, 96, 96) * 255.0).shape == (1, 32)
    assert torch.equal(larger.head[0].weight, teacher.head[0].weight)
    even = torch.ones_like(teacher.backbone.pos_embed)
    teacher.backbone.pos_embed.data = even
    assert torch.allclose(
        server_student(TrainedNetwork(teacher, 64, 1, (), (), whitened=False), 96).backbone.pos_embed, torch.ones(()), atol=1e-4
    )
    assert nearest_side(SERVER_SIDE, TEACHER.patch) == 512
    with pytest.raises(DataError, match="larger size"):
        server_student(TrainedNetwork(make_network(FOUR_STAGES), 112, 1, (), (), whitened=False))


def test_an_unknown_network_is_named(timm):
    with pytest.raises(DataError, match="perceptron"):
        make_network(PublishedSettings(model="perceptron", side=64))
