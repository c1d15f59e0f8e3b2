"""Training and export from end to end, on a tiny network and drawn cards."""
# ruff: noqa: E402 - what needs PyTorch is imported once it is known to be there

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: install the extra `train`")

from edge.adapters.onnx import OnnxEmbedder
from edge.embedding import to_input_batch
from edge.errors import DataError, ModelError
from edge.model import open_model, self_test
from tools import export_model
from tools.checkpoint import load, network_of, save
from tools.measure_network import as_table, view_figures
from tools.network import EmbeddingNetwork, NetworkSettings, parameter_count
from tools.train import Stage, Training, TrainSettings, embedding_loss
from tools.training_data import Descriptor, MadeUpCards, Views, compose, read_backgrounds, read_cards, recolour
from tools.whiten_head import apply_to_head, embed_at, whiten_head, whitening

TINY = NetworkSettings(depths=(1, 1, 1, 1), widths=(8, 16, 16, 32), layout_channels=8)
SETTINGS = TrainSettings(
    network=TINY,
    stages=(Stage(96, 6, 0.7), Stage(112, 4, 0.3)),
    minutes=None,
    steps=8,
    hold_out=("T2",),
    threads=1,
    workers=0,
    save_every_s=1e9,
)


def draw(seed):
    random = np.random.default_rng(seed)
    picture = np.full((352, 252, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(12):
        corners = random.integers(0, 252, (3, 2)).astype(np.int32)
        cv2.fillConvexPoly(picture, corners, tuple(int(value) for value in random.integers(0, 256, 3)))
    return picture


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as training expects it: 20 cards of set T1, 8 of T2, one pair that shares its artwork, 6 things that are no cards."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "negatives").mkdir()
    lines = ["card_id,name,set,number,rarity,image"]
    for number in range(28):
        card_set = "T1" if number < 20 else "T2"
        cv2.imwrite(str(folder / f"{number}.png"), draw(number))
        lines.append(f"{card_set}-{number},Card {number},{card_set},{number},C,{number}.png")
    (folder / "cards.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "same_artwork.json").write_text('[["T1-3", "T1-4"]]', encoding="utf-8")
    for number in range(6):
        cv2.imwrite(str(folder / "negatives" / f"{number}.png"), draw(1000 + number)[:200])
    return folder


@pytest.fixture(scope="module")
def cards(data):
    return read_cards(data)


@pytest.fixture(scope="module")
def known(cards):
    return cards.chosen(~np.isin(cards.card_sets, SETTINGS.hold_out))


@pytest.fixture(scope="module")
def backgrounds(data):
    return read_backgrounds(data / "negatives", half=0)


@pytest.fixture(scope="module")
def descriptor(known):
    return Descriptor.fit(known.pixels)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


# --- data ---


def test_reprints_share_a_group_and_held_out_cards_are_left_out(cards, known):
    groups = dict(zip(cards.card_ids, cards.groups, strict=True))
    assert groups["T1-3"] == groups["T1-4"]
    assert len(set(groups.values())) == 27
    assert len(known.card_ids) == 20


def test_training_and_measuring_see_different_backgrounds(data):
    train, measure = (read_backgrounds(data / "negatives", half) for half in (0, 1))
    assert len(train) == len(measure) == 3
    assert not any(np.array_equal(a, b) for a in train for b in measure)


@pytest.mark.parametrize(("text", "message"), [("card_id,name\nA,B\n", "'image' is missing"), ("", "missing")])
def test_a_card_list_without_a_column_names_it(tmp_path, text, message):
    (tmp_path / "cards.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cards(tmp_path)


def test_the_descriptor_knows_a_card_again_and_tells_others_apart(known, descriptor):
    vectors = np.stack([descriptor.describe(card) for card in known.pixels])
    blurred = np.stack([descriptor.describe(cv2.GaussianBlur(card, (0, 0), 1.5)) for card in known.pixels])
    assert vectors.shape == (20, 768)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    similarities = blurred @ vectors.T
    assert (similarities.argmax(axis=1) == np.arange(20)).all()


def test_samples_are_told_apart_by_number_and_the_same_each_time(known, backgrounds, descriptor):
    views = Views(known, backgrounds, descriptor, 96, 1, MadeUpCards())
    first, again, other = views[7], views[7], views[8]
    assert first[0].shape == (96, 96, 3)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_made_up_cards_belong_to_no_group(known, backgrounds, descriptor):
    always = Views(known, backgrounds, descriptor, 96, 1, MadeUpCards(composed=1.0, recoloured=0.0, no_card=0.0))
    never = Views(known, backgrounds, descriptor, 96, 1, MadeUpCards(composed=0.0, recoloured=0.0, no_card=0.0))
    assert {always[number][2] for number in range(20)} == {-1}
    assert -1 not in {never[number][2] for number in range(20)}


def test_made_up_cards_differ_from_their_parts(known):
    random = np.random.default_rng(0)
    first, second = known.pixels[0], known.pixels[1]
    composed = compose(first, second, random)
    assert np.any(composed != first)
    assert np.any(composed != second)
    assert np.array_equal(known.pixels[0], first)
    assert np.abs(recolour(first, random).astype(int) - first).mean() > 1.0


# --- network and loss ---


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("side", [96, 112, 128, 160, 192, 224])
def test_the_network_takes_each_training_size(norm, side):
    network = EmbeddingNetwork(dataclasses.replace(TINY, norm=norm)).eval()
    vectors = network(torch.full((2, 3, side, side), 100.0))
    assert vectors.shape == (2, 768)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_real_network_fits_into_sixty_megabytes_of_half_precision():
    with torch.device("meta"):
        count = parameter_count(EmbeddingNetwork())
    assert 27_000_000 < count < 29_900_000


@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_folding_changes_nothing(norm, shrink):
    torch.manual_seed(0)
    network = EmbeddingNetwork(dataclasses.replace(TINY, norm=norm))
    for _ in range(3):
        network(torch.rand(4, 3, 96, 96) * 255.0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    network.eval()
    pixels = torch.rand(2, 3, 224, 224) * 255.0
    with torch.inference_mode():
        before = network(torch.nn.functional.avg_pool2d(pixels, shrink))
        network.fold(shrink)
        after = network.embed(pixels)
    assert torch.allclose(before, after, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_the_loss_rewards_the_own_target_and_ignores_reprints():
    targets = torch.eye(4, 768)
    groups = torch.tensor([0, 1, 2, -1])
    bank, bank_groups = torch.eye(6, 768)[[0, 1, 2, 4, 5]], torch.tensor([0, 1, 2, 4, 5])

    def loss(vectors):
        return float(embedding_loss(vectors, targets, groups, bank, bank_groups, SETTINGS))

    right, wrong = loss(targets), loss(targets.roll(1, dims=0))
    assert right < 0.01
    assert wrong > 1.0
    reprints = torch.nn.functional.normalize(torch.eye(5, 768)[[3]] + 0.1 * torch.eye(5, 768)[[0]])
    one, no_group = torch.tensor([7]), torch.tensor([-1])
    same = float(embedding_loss(targets[:1], targets[:1], one, reprints, one, SETTINGS))
    different = float(embedding_loss(reprints, targets[:1], no_group, reprints, one, SETTINGS))
    assert same < 1e-4 < different


def test_whitening_is_a_linear_map_of_the_output(known):
    torch.manual_seed(0)
    network = EmbeddingNetwork(TINY).eval()
    pictures = list(known.pixels)
    clean, views = embed_at(network, pictures, 96), embed_at(network, [cv2.GaussianBlur(card, (0, 0), 3) for card in pictures], 96)
    matrix = whitening(clean, views)
    apply_to_head(network, matrix)
    mapped = clean @ matrix.T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    assert np.sum(embed_at(network, pictures, 96) * mapped, axis=1).min() > 0.995


def test_whitening_takes_away_what_all_cards_share():
    random = np.random.default_rng(0)
    own = random.standard_normal((200, 32)).astype(np.float32)
    shared = 12.0 * random.standard_normal((200, 1)).astype(np.float32) * np.eye(1, 32, dtype=np.float32)
    clean = own + shared
    views = clean + 0.3 * random.standard_normal((200, 32)).astype(np.float32)

    def alike(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return float(np.abs(unit @ unit.T)[np.triu_indices(200, 1)].mean())

    assert alike(clean @ whitening(clean, views)) < 0.5 * alike(clean)


# --- a run ---


def test_training_lowers_the_loss_and_ends_with_its_budget(known, backgrounds, descriptor):
    settings = dataclasses.replace(SETTINGS, steps=30, stages=(Stage(96, 8, 1.0),), learning_rate=3e-3)
    training = Training(settings, known, backgrounds, descriptor)
    training.run(None)
    losses = [entry["loss"] for entry in training.log]
    assert training.step == 30
    assert np.mean(losses[-8:]) < 0.95 * np.mean(losses[:8])


def test_a_resumed_run_takes_the_same_course(known, backgrounds, descriptor, tmp_path):
    whole = Training(SETTINGS, known, backgrounds, descriptor)
    whole.run(tmp_path / "whole")

    half = Training(SETTINGS, known, backgrounds, descriptor)
    for _ in range(3):
        half._learn(*next(half._batches(half.stage())))
    save(tmp_path / "half.pt", half.state())
    resumed = Training(SETTINGS, known, backgrounds, descriptor)
    resumed.restore(load(tmp_path / "half.pt"))
    resumed.run(None)

    assert [entry["step"] for entry in resumed.log] == list(range(1, 9))
    assert [entry["loss"] for entry in resumed.log] == pytest.approx([entry["loss"] for entry in whole.log], rel=1e-3)
    assert resumed.samples == whole.samples


def test_stages_follow_the_budget(known, backgrounds, descriptor):
    training = Training(SETTINGS, known, backgrounds, descriptor)
    sides = []
    for step in range(8):
        training.step = step
        sides.append(training.stage().side)
    assert sides == [96] * 6 + [112] * 2
    rates = []
    for step in range(9):
        training.step = step
        rates.append(training.rate())
    assert max(rates) <= SETTINGS.learning_rate
    assert rates[-1] == pytest.approx(SETTINGS.learning_rate * SETTINGS.final_rate_share)


def test_a_checkpoint_of_another_network_is_refused(known, backgrounds, descriptor):
    training = Training(SETTINGS, known, backgrounds, descriptor)
    other = Training(dataclasses.replace(SETTINGS, network=dataclasses.replace(TINY, layout_channels=4)), known, backgrounds, descriptor)
    with pytest.raises(DataError, match="another network"):
        other.restore(training.state())


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"last\.pt"):
        load(tmp_path / "last.pt")


# --- export ---


@pytest.fixture(scope="module", params=["batch", "layer"])
def checkpoint(request, known, backgrounds, descriptor, tmp_path_factory):
    settings = dataclasses.replace(SETTINGS, network=dataclasses.replace(TINY, norm=request.param))
    training = Training(settings, known, backgrounds, descriptor)
    training.elapsed_s = 60.0
    training.run(tmp_path_factory.mktemp("run"))
    path = tmp_path_factory.mktemp("checkpoint") / "last.pt"
    save(path, whiten_head(training.state(), known, backgrounds))
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("hef") / "tiny"
    export_model.export(checkpoint, data, out, views_per_card=1)
    return out


def test_the_exported_folder_opens_and_passes_its_self_test(exported):
    model = open_model(exported)
    assert model.manifest.training.note.startswith("briefly trained: ")
    assert model.manifest.training.held_out == ("T2",)
    assert {view.view for view in model.manifest.measured.views} == set(export_model.PRESETS)
    embedder = OnnxEmbedder(model, threads=1)
    assert self_test(embedder.submit, model, kind="onnx") > 0.999
    embedder.close()


def test_the_exported_network_agrees_with_the_trained_one(exported, checkpoint, cards):
    network = network_of(load(checkpoint))
    batch = to_input_batch(list(cards.pixels[:5]))
    model = open_model(exported)
    assert model.manifest.model_id == export_model.weights_id(network)
    assert model.manifest.measured.parity_min_cosine >= 0.9999
    embedder = OnnxEmbedder(model, threads=1)
    vectors = embedder.submit(batch).result(timeout=30)
    embedder.close()
    assert np.sum(vectors * export_model.embed_with_torch(network, 2, batch), axis=1).min() > 0.9999


def test_the_artefact_stores_its_large_weights_in_half_precision(exported):
    graph = export_model.onnx.load(str(exported / "model.onnx")).graph
    single = [weight for weight in graph.initializer if weight.data_type == export_model.TensorProto.FLOAT]
    assert all(np.prod(weight.dims) < export_model.HALF_FROM_ELEMENTS for weight in single)
    assert any(weight.data_type == export_model.TensorProto.FLOAT16 for weight in graph.initializer)
    assert not {"BatchNormalization", "Sub"} & {
        node.op_type for node in graph.node if "LayerNorm" not in node.name and "norm" not in node.name
    }


def test_an_export_that_fails_leaves_the_old_folder(exported, checkpoint, data, monkeypatch):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}

    def failing(*_):
        raise ModelError("not alike")

    monkeypatch.setattr(export_model, "parity", failing)
    with pytest.raises(ModelError, match="not alike"):
        export_model.export(checkpoint, data, exported, views_per_card=0)
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert not list(exported.parent.glob(".*"))


def test_figures_count_names_and_refusals():
    gallery = np.eye(4, 8, dtype=np.float32)
    queries = np.array([[0.9, 0.1] + [0] * 6, [0.6, 0.7] + [0] * 6], np.float32)
    groups = np.arange(4)
    row = view_figures("test", queries, gallery, groups[[0, 0]], groups)
    assert row.top1 == 0.5
    assert row.accepted == 0.5
    assert "| test | 2 | 50.0 | 50.0 |" in as_table([row])
