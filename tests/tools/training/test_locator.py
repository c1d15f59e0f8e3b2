"""Training of the locator network: its targets, its loss under half a turn, resuming, and reading a network back from its export."""

import dataclasses

import numpy as np
import pytest
import torch

from edge.adapters.onnx import OnnxDetector
from edge.errors import ModelError
from edge.recognition.locator_model import open_locator_model
from edge.vision.detector import decode
from tests.support.scene_material import drawn_material
from tools import compile_hef
from tools.exporting.locator import export_locator
from tools.network.locator import SCALE_PX, LocatorNetwork, LocatorOutput, LocatorSettings
from tools.network.locator_weights import read_trainable
from tools.simulation.scenes.compose import Scene, SceneCard
from tools.training.chain import Run, run_stage
from tools.training.checkpoint import save
from tools.training.locator import LocatorObjective, LocatorTraining, LossWeights, SceneSamples, SceneShares, plan_locator, start_from
from tools.training.locator_targets import encode, padded, unpack
from tools.training.loop import Trainer
from tools.training.processes import SINGLE_PROCESS
from tools.training.schedule import ResolutionPhase, Schedule

SIDE = 64
TINY = LocatorSettings(widths=(4, 4, 8, 8, 8), depths=(1, 1, 1), neck=8)
SETTINGS = LocatorTraining(TINY, Schedule(pictures=(ResolutionPhase(SIDE, 2),), steps=3, threads=1, workers=0, save_every_s=1e9))
CORNERS = np.array([[12.0, 8.0], [36.0, 10.0], [35.0, 44.0], [10.0, 42.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def material():
    return drawn_material()


def scene_of(*cards):
    return Scene(np.full((48, 64, 3), 90, np.uint8), cards)


def card(corners=CORNERS, *, visible=1.0, side="face", oriented=True):
    return SceneCard(corners, side, oriented, visible)


def targets_of(scene):
    return unpack(torch.from_numpy(encode(scene, SIDE))[None])


def perfect(scene, turned=False):
    """Return the output of a network that answers as the targets say, with the card turned over if ``turned``."""
    targets = targets_of(scene)
    corners = torch.roll(targets.corners, 4, dims=1) if turned else targets.corners
    heat = torch.logit(targets.heat.clamp(1e-4, 1 - 1e-4))
    order = torch.full_like(targets.weight, -9.0 if turned else 9.0)
    return LocatorOutput(heat, corners, order, torch.logit(targets.visible.clamp(1e-4, 1 - 1e-4)))


def test_targets_name_the_center_and_the_corners():
    targets = targets_of(scene_of(card()))
    ((row, column),) = torch.nonzero(targets.heat[0, 0] >= 1.0).tolist()
    assert (row, column) == (3, 2)
    center = np.array([2.5 * 8 - 0.5, 3.5 * 8 - 0.5])
    offsets = targets.corners[0, :, row, column].numpy().reshape(4, 2) * SCALE_PX
    assert np.allclose(center + offsets, CORNERS, atol=1e-4)
    assert float(targets.weight.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize(("visible", "heat", "weight"), [(0.9, 1.0, 1.0), (0.4, 0.0, 0.0), (0.1, 0.0, 1.0)])
def test_hidden_cards_are_ignored_and_nearly_hidden_ones_are_background(visible, heat, weight):
    targets = targets_of(scene_of(card(visible=visible)))
    assert float(targets.heat[0, 0, 3, 2]) == heat
    assert float(targets.heat_weight[0, 0, 3, 2]) == weight


def test_a_region_to_ignore_costs_nothing():
    scene = Scene(np.full((64, 64, 3), 90, np.uint8), (), (np.array([[0, 0], [63, 0], [63, 31], [0, 31]], np.float32),))
    weight = targets_of(scene).heat_weight[0, 0]
    assert float(weight[0, 0]) == 0.0
    assert float(weight[7, 7]) == 1.0


def test_the_loss_is_the_same_for_a_card_turned_over_and_punishes_a_wrong_order():
    scene, objective = scene_of(card()), LocatorObjective(LocatorNetwork(TINY), LossWeights())
    targets = targets_of(scene)
    straight, turned = (objective.terms(perfect(scene, turned), targets) for turned in (False, True))
    for name in ("corners", "order", "loss"):
        assert float(straight[name]) == pytest.approx(float(turned[name]), abs=1e-4)
    assert float(straight["corners"]) == pytest.approx(0.0, abs=1e-6)
    output = perfect(scene)
    wrong = objective.terms(output._replace(order=-output.order), targets)
    assert float(wrong["order"]) > 5.0
    unknown = objective.terms(output._replace(order=-output.order), targets_of(scene_of(card(oriented=False))))
    assert float(unknown["order"]) == 0.0


class Repeated:
    """The same few samples again and again."""

    def __init__(self, samples, count):
        self._samples = [samples[number] for number in range(count)]

    def __len__(self):
        return 1 << 30

    def __getitem__(self, number):
        return self._samples[number % len(self._samples)]


def test_training_lowers_the_loss(material):
    course = dataclasses.replace(SETTINGS.course, steps=10, learning_rate=4e-3)
    plan = plan_locator(dataclasses.replace(SETTINGS, course=course), material)
    training = Trainer(dataclasses.replace(plan, samples=lambda side: Repeated(plan.samples(side), 2)))
    training.run(None)
    losses = [entry["loss"] for entry in training.log]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_resumed_run_gives_the_same_losses(material, tmp_path):
    whole = Trainer(plan_locator(SETTINGS, material))
    whole.run(None)
    half = Trainer(plan_locator(SETTINGS, material))
    phase = half.plan.schedule.pictures[0]
    half.objective.train()
    for _, (pixels, labels) in zip(range(1), half._batches(phase), strict=False):
        half._train_step(pixels, labels, phase)
    save(tmp_path / "last.pt", half.state())
    resumed = Trainer(plan_locator(SETTINGS, material))
    resumed.restore_from(tmp_path)
    resumed.run(None)
    assert [entry["loss"] for entry in resumed.log] == pytest.approx([entry["loss"] for entry in whole.log], rel=1e-5)


@pytest.fixture(scope="module")
def exported(material, tmp_path_factory):
    """A folder with a run of a tiny network, and its export."""
    folder = tmp_path_factory.mktemp("locator")
    run_stage(plan_locator(SETTINGS, material), Run(folder / "run", resume=False, processes=SINGLE_PROCESS))
    export_locator(folder / "run" / "last.pt", folder, folder / "card-locator", score=0.3, scenes=0)
    return folder


def test_an_exported_network_is_one_that_the_daemon_runs(exported, material):
    detector = OnnxDetector(open_locator_model(exported / "card-locator"))
    frames = np.stack([SceneSamples(material, SIDE, 1, SceneShares())[number][0] for number in range(3)])
    maps = detector.detect(frames)
    network = start_from(exported / "run" / "last.pt", SceneSamples(material, SIDE, 1, SceneShares()))
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    assert np.allclose(maps.heat, torch.sigmoid(expected.heat).numpy(), atol=1e-4)
    assert np.allclose(maps.corners, expected.corners.numpy(), atol=1e-3)
    assert len(decode(maps, 0, detector.info, min_score=1e-6, most=5)) > 0


def test_the_plan_of_the_compiler_is_printed_for_a_locator_too(exported, capsys):
    assert compile_hef.main(["--plan", "--model", str(exported / "card-locator")]) == 0
    printed = capsys.readouterr().out
    assert "| 8x8 |" in printed
    assert "Gen3 x1" in printed


def test_an_exported_network_can_be_trained_further(exported, material, monkeypatch):
    monkeypatch.setattr("tools.training.locator.STATISTICS_FRAMES", 12)
    samples = SceneSamples(material, SIDE, 1, SceneShares())
    trained, read = start_from(exported / "run" / "last.pt", samples), start_from(exported / "card-locator", samples)
    pixels = torch.from_numpy(np.stack([samples[number][0] for number in range(4)])).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        before, after = trained.eval()(pixels), read.eval()(pixels)
        normalized = read.train()(pixels)
    for first, second in zip(before, after, strict=True):
        assert torch.allclose(first, second, atol=1e-3)
    # also in training, with the statistics of a batch in place of those of the export, it is nearly the same network
    assert float((normalized.corners - after.corners).abs().mean()) < 0.5 * float(after.corners.abs().mean()) + 0.1
    plan = plan_locator(dataclasses.replace(SETTINGS, network=read.settings), material, start=read)
    training = Trainer(plan)
    training.run(None)
    assert training.step == SETTINGS.course.steps


def test_another_network_cannot_be_read_as_a_locator(tmp_path):
    (tmp_path / "model.json").write_text('{"schema": "cardedge.locator/1"}')
    with pytest.raises(ModelError, match="no `network`"):
        read_trainable(tmp_path, [padded(np.zeros((8, 8, 3), np.uint8), SIDE)])
