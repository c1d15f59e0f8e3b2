"""All stages by their commands, with tiny networks and drawn cards, up to a model folder that the daemon's loader opens."""

import dataclasses

import numpy as np
import pytest
import torch

from edge.adapters.onnx import OnnxEmbedder
from edge.errors import DataError
from edge.recognition.embedding import to_input_batch
from edge.recognition.model import open_model, self_test
from tests.support.published_networks import TINY_VIT, import_timm
from tests.support.tiny_training import SIDE, TINY, TINY_REGNET
from tools.evaluation.embedding import as_table, measured_view
from tools.exporting.deployed import embed_as_trained, weights_id
from tools.exporting.folder import export
from tools.network.embed_images import embed_images
from tools.network.factory import make_network
from tools.simulation.card_images import read_cards
from tools.training import cli, commands
from tools.training.checkpoint import load, open_trained
from tools.training.distill import teacher_embeddings
from tools.training.loop import Trainer

NETWORKS = {"batch": TINY, "layer": dataclasses.replace(TINY, norm="layer"), "regnet": TINY_REGNET}
QUICK = ["--side", str(SIDE), "--batch", "4", "--threads", "1", "--workers", "0"]


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    monkeypatch.setattr(commands, "BY_NAME", NETWORKS)
    monkeypatch.setattr(commands, "TEACHER", dataclasses.replace(TINY_VIT, dim=768))
    monkeypatch.setattr(commands, "STUDENTS", {"hailo": (TINY, SIDE)})


def run(command, data, out, *options):
    assert cli.main([command, "--data", str(data), "--out", str(out), "--hold-out", "T2", *QUICK, *map(str, options)]) == 0
    return out


@pytest.fixture(scope="module")
def direct(data, tmp_path_factory):
    """One run of ``direct`` per network: warm start, metric stage, whitening."""
    folder, patch = tmp_path_factory.mktemp("direct"), pytest.MonkeyPatch()
    patch.setattr(commands, "BY_NAME", NETWORKS)
    for name in NETWORKS:
        run("direct", data, folder / name, "--network", name, "--steps", "4")
    patch.undo()
    return folder


# --- direct ---


def test_direct_training_runs_all_stages(direct):
    trained = open_trained(direct / "batch" / "final.pt")
    assert [stage.stage for stage in trained.stages] == ["warm", "metric", "blend"]
    assert [stage.views for stage in trained.stages] == [4 * 4, 4 * 4 * 2, 0]
    assert trained.held_out == ("T2",)
    assert trained.whitened
    assert trained.views == 48
    assert trained.stages[1].settings["refresh_steps"] == 150
    assert set(load(direct / "batch" / "metric" / "last.pt")["log"][0]) == {"step", "loss", "nce", "arc", "align", "descriptor", "rate"}


def test_the_metric_stage_starts_from_the_warm_start_and_can_be_whitened_later(direct, data, tmp_path, capsys):
    warm = direct / "batch" / "warm" / "last.pt"
    run("metric", data, tmp_path / "metric", "--start", warm, "--steps", "4")
    alone, chained = load(tmp_path / "metric" / "last.pt"), load(direct / "batch" / "metric" / "last.pt")
    assert [entry["loss"] for entry in alone["log"]] == pytest.approx([entry["loss"] for entry in chained["log"]], rel=1e-5)
    last, later = tmp_path / "metric" / "last.pt", tmp_path / "later.pt"
    assert cli.main(["whiten", "--data", str(data), "--checkpoint", str(last), "--out", str(later)]) == 0
    ours, theirs = open_trained(later).network.state_dict(), open_trained(tmp_path / "metric" / "final.pt").network.state_dict()
    assert torch.allclose(ours["head.project.weight"], theirs["head.project.weight"], atol=1e-5)
    assert "metric" in capsys.readouterr().out


def test_a_metric_stage_resumes_with_the_proxies_it_had(direct, data, tmp_path, monkeypatch):
    """Continued after three of its steps, between two refreshes of the proxies."""
    warm = direct / "batch" / "warm" / "last.pt"
    whole = load(run("metric", data, tmp_path / "whole", "--start", warm, "--steps", "6") / "last.pt")
    saved = []
    real_save = Trainer.state

    def stop_after_three(training):
        state = real_save(training)
        if training.step == 3 and not saved:
            saved.append(state)
            raise KeyboardInterrupt
        return state

    monkeypatch.setattr("tools.training.loop.Trainer.state", stop_after_three)
    monkeypatch.setattr("tools.training.commands._metric_settings", quick_saves)
    with pytest.raises(KeyboardInterrupt):
        run("metric", data, tmp_path / "half", "--start", warm, "--steps", "6")
    monkeypatch.setattr("tools.training.loop.Trainer.state", real_save)
    half = load(run("metric", data, tmp_path / "half", "--start", warm, "--steps", "6", "--resume") / "last.pt")
    assert len(half["log"]) == 6
    assert [entry["loss"] for entry in half["log"]] == pytest.approx([entry["loss"] for entry in whole["log"]], rel=1e-5)


_real_metric_settings = commands._metric_settings


def quick_saves(args):
    settings = _real_metric_settings(args)
    return dataclasses.replace(settings, course=dataclasses.replace(settings.course, save_every_s=0.0))


def test_resuming_a_completed_sequence_does_nothing(direct, data):
    before = load(direct / "batch" / "metric" / "last.pt")["log"]
    run("direct", data, direct / "batch", "--steps", "4", "--resume")
    assert load(direct / "batch" / "metric" / "last.pt")["log"] == before


def test_a_folder_that_holds_a_run_is_refused(direct, data, capsys):
    status = cli.main(["direct", "--data", str(data), "--out", str(direct / "batch"), "--hold-out", "T2", *QUICK, "--steps", "4"])
    assert status == 65
    assert "--resume" in capsys.readouterr().err


def test_refinement_starts_from_the_whitened_network_and_keeps_its_space(direct, data, tmp_path):
    start = direct / "batch" / "final.pt"
    out = run("refine", data, tmp_path / "refined", "--start", start, "--steps", "3")
    before, after = open_trained(start), open_trained(out / "final.pt")
    assert [stage.stage for stage in after.stages] == ["warm", "metric", "blend", "refine"]
    assert after.views == before.views + 3 * 4
    assert after.whitened
    log = load(out / "last.pt")["log"]
    assert set(log[0]) == {"step", "loss", "cosine", "rate"}
    assert log[0]["cosine"] > 0.2  # the teacher's own embedding of the degraded view, before the first step
    resumed = load(run("refine", data, out, "--start", start, "--steps", "3", "--resume") / "last.pt")
    assert resumed["log"] == log


# --- teacher and students ---


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    """A tiny transformer as teacher, fine-tuned from a file of weights in both phases."""
    import_timm()
    folder, patch = tmp_path_factory.mktemp("teacher"), pytest.MonkeyPatch()
    settings = dataclasses.replace(TINY_VIT, dim=768)
    torch.manual_seed(0)
    torch.save(make_network(settings).backbone.state_dict(), folder / "weights.pth")
    patch.setattr(commands, "TEACHER", settings)
    quick = dataclasses.replace(commands.TeacherSettings(), head_epochs=2, block_epochs=1, last_blocks=1, head_rate=1e-2)
    patch.setattr(commands, "TeacherSettings", lambda **changes: dataclasses.replace(quick, **changes))
    options = ["--batch", "10", "--threads", "1", "--workers", "0", "--weights", str(folder / "weights.pth")]
    assert cli.main(["teacher", "--data", str(data), "--out", str(folder / "run"), "--hold-out", "T2", *options]) == 0
    patch.undo()
    return folder


def test_the_teacher_learns_its_head_first_and_then_its_last_blocks(teacher):
    published = torch.load(teacher / "weights.pth", weights_only=True)
    head, blocks = (load(teacher / "run" / phase / "last.pt") for phase in ("head", "blocks"))
    assert [len(state["log"]) for state in (head, blocks)] == [4, 2]
    assert [record["stage"] for record in blocks["stages"]] == ["teacher: head", "teacher: blocks"]
    assert blocks["log"][0]["rate"] <= 1e-5

    def moved(state, name):
        return not torch.equal(state["network"][f"backbone.{name}"], published[name])

    first, last = "blocks.0.mlp.fc1.weight", "blocks.2.mlp.fc1.weight"
    assert not moved(head, first)
    assert not moved(head, last)
    assert not moved(blocks, first)
    assert moved(blocks, last)
    assert len(blocks["own"]["centers"]) == 19, "one class per artwork, and two of the twenty cards share one"


def test_a_teacher_without_weights_says_what_to_do(data, tmp_path, capsys, monkeypatch):
    import_timm()
    monkeypatch.setattr("tools.network.published.published_weights", unreachable)
    status = cli.main(["teacher", "--data", str(data), "--out", str(tmp_path / "none")])
    assert status == 65
    assert "--weights" in capsys.readouterr().err


def unreachable(model, *_):
    raise DataError(f"{model}: its published weights cannot be fetched here; name the file with --weights")


@pytest.mark.parametrize("losses", [["mse"], ["relational:5", "mse:0.5"], ["contrastive"]])
def test_a_student_learns_from_its_teacher(teacher, data, tmp_path, losses, monkeypatch):
    monkeypatch.setattr(commands, "STUDENT_RATE", 1e-2)
    chosen = [option for loss in losses for option in ("--loss", loss)]
    out = run(
        "distill", data, tmp_path, "--teacher", teacher / "run" / "blocks" / "last.pt", "--student", "hailo", "--steps", "16", *chosen
    )
    log = load(out / "last.pt")["log"]
    assert {loss.partition(":")[0] for loss in losses} <= set(log[0])
    if "contrastive" not in losses:  # an untrained transformer embeds all cards almost equally: nothing to distinguish
        assert np.mean([entry["loss"] for entry in log[-4:]]) < np.mean([entry["loss"] for entry in log[:4]])
    assert open_trained(out / "last.pt").stages[-1].stage == "distill: hailo"


def test_the_server_student_is_trained_at_its_own_size(teacher, data, tmp_path):
    options = ["--batch", "4", "--threads", "1", "--workers", "0", "--steps", "2", "--side", "50", "--student", "server"]
    blocks = teacher / "run" / "blocks" / "last.pt"
    assert cli.main(["distill", "--data", str(data), "--out", str(tmp_path), "--hold-out", "T2", "--teacher", str(blocks), *options]) == 0
    assert open_trained(tmp_path / "last.pt").side == 48


def test_a_teacher_embeds_the_cards_once(dataset, tmp_path):
    weights = tmp_path / "teacher.bin"
    weights.write_bytes(b"anything")
    embedded = []

    class CountingTeacher:
        dim = 4

        def embed(self, cards):
            embedded.append(len(cards))
            return np.eye(len(cards), 4, dtype=np.float32)

    rows = [teacher_embeddings(weights, lambda _: CountingTeacher(), dataset.cards, tmp_path) for _ in range(2)]
    assert embedded == [20]
    assert np.array_equal(*rows)
    weights.write_bytes(b"another teacher")
    teacher_embeddings(weights, lambda _: CountingTeacher(), dataset.cards, tmp_path)
    assert embedded == [20, 20]


# --- export ---


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def exported(request, direct, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("hef") / "tiny"
    export(direct / request.param / "final.pt", data, out, views_per_card=1)
    return out


def test_the_exported_folder_opens_and_agrees_with_the_trained_network(exported, direct, data):
    model = open_model(exported)
    assert model.manifest.training.note.startswith("briefly trained: ")
    assert model.manifest.training.held_out == ("T2",)
    assert model.manifest.training.views == 48
    assert model.manifest.measured.parity_min_cosine >= 0.9999
    name = next(name for name in NETWORKS if weights_id(open_trained(direct / name / "final.pt").network) == model.manifest.model_id)
    cards = list(read_cards(data).pixels[:5])
    embedder = OnnxEmbedder(model, threads=1)
    assert self_test(embedder.submit, model, kind="onnx") > 0.999
    vectors = embedder.submit(to_input_batch(cards)).result(timeout=30)
    embedder.close()
    trained = open_trained(direct / name / "final.pt")
    assert np.sum(vectors * embed_as_trained(trained, 224 // SIDE, to_input_batch(cards)), axis=1).min() > 0.9999
    assert np.sum(vectors * embed_images(trained.network, cards, SIDE), axis=1).min() > 0.95


def test_figures_count_identifications_and_rejections():
    gallery = np.eye(4, 8, dtype=np.float32)
    queries = np.array([[0.9, 0.1] + [0] * 6, [0.6, 0.7] + [0] * 6], np.float32)
    groups = np.arange(4)
    row = measured_view("test", queries, gallery, groups[[0, 0]], groups)
    assert row.top1 == 0.5
    assert row.accepted == 0.5
    assert "| test | 2 | 50.0 | 50.0 |" in as_table([row])
