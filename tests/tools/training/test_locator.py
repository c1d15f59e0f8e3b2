"""Training of the locator network: its targets, its loss under half a turn, resuming, and reading a network back from its export."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.adapters.onnx import OnnxDetector
from edge.errors import ModelError
from edge.recognition.locator_model import open_locator_model
from edge.vision.detector import decode
from tests.support.scene_material import drawn_material
from tools import compile_hef
from tools.exporting.locator import export_locator, measure_exported
from tools.network.locator import SCALE_PX, LocatorNetwork, LocatorOutput, LocatorSettings, decoded, from_turn_free, turn_free, upward
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


def perfect(targets):
    """Return the output of a network that answers as the targets say."""
    heat = torch.logit(targets.heat.clamp(1e-4, 1 - 1e-4))
    return LocatorOutput(heat, turn_free(targets.corners), upward(targets.corners), torch.logit(targets.visible.clamp(1e-4, 1 - 1e-4)))


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


@settings(max_examples=40, deadline=None)
@given(
    turn=st.floats(0.0, 360.0),
    stretch=st.floats(0.5, 1.5),
    bend=st.lists(st.floats(-0.08, 0.08), min_size=8, max_size=8),
)
def test_corners_come_back_from_their_turn_free_form_in_one_of_the_two_orders(turn, stretch, bend):
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (np.array([[-0.5, -0.7], [0.5, -0.7], [0.5, 0.7], [-0.5, 0.7]]) * [stretch, 1.0] + np.reshape(bend, (4, 2))) @ rotation.T
    values = torch.tensor(corners.reshape(1, 8, 1, 1), dtype=torch.float32)
    opposite = torch.roll(values, 4, dims=1)
    assert torch.allclose(turn_free(values), turn_free(opposite), atol=1e-5)
    back = from_turn_free(turn_free(values))
    assert min(float((back - values).abs().max()), float((back - opposite).abs().max())) < 1e-3
    if turn < 50.0 or turn > 310.0:  # a card that lies upright starts at its upper left corner
        assert torch.allclose(back, values, atol=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_order_says_whether_the_first_corner_is_the_own_one(turned):
    corners = np.roll(CORNERS, 2, axis=0) if turned else CORNERS  # a card that lies upside down starts at its lower right corner
    answer = decoded(perfect(targets_of(scene_of(card(corners.copy())))))
    assert bool(answer.order[0, 0, 3, 2] > 0.95) is not turned
    assert np.allclose(answer.corners[0, :, 3, 2].numpy(), targets_of(scene_of(card())).corners[0, :, 3, 2].numpy(), atol=1e-4)


def test_the_loss_is_least_for_the_right_answer_and_the_order_counts_only_where_it_can_be_told():
    objective, targets = LocatorObjective(LocatorNetwork(TINY), LossWeights()), targets_of(scene_of(card()))
    output = perfect(targets)
    right = objective.terms(output, targets)
    assert float(right["corners"]) == pytest.approx(0.0, abs=1e-6)
    assert float(right["order"]) == pytest.approx(0.0, abs=1e-6)
    wrong = output._replace(order=-output.order)
    assert float(objective.terms(wrong, targets)["order"]) > 0.5
    assert float(objective.terms(wrong, targets_of(scene_of(card(oriented=False))))["order"]) == 0.0


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
    export_locator(folder / "run" / "last.pt", folder / "card-locator", score=0.3)
    measure_exported(folder / "card-locator", folder, scenes=0)
    return folder


def test_an_exported_network_is_one_that_the_daemon_runs(exported, material):
    detector = OnnxDetector(open_locator_model(exported / "card-locator"))
    frames = np.stack([SceneSamples(material, SIDE, 1, SceneShares())[number][0] for number in range(3)])
    maps = detector.detect(frames)
    network = start_from(exported / "run" / "last.pt", SceneSamples(material, SIDE, 1, SceneShares()))
    with torch.no_grad():
        output = network.eval()(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    assert np.allclose(maps.heat, torch.sigmoid(output.heat).numpy(), atol=1e-4)
    assert np.allclose(turn_free(torch.from_numpy(maps.corners)).numpy(), output.corners.numpy(), atol=1e-3)
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
    pixels = torch.from_numpy(np.stack([samples[number][0] for number in range(12)])).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        before, after, in_training = trained.eval()(pixels), read.eval()(pixels), read.train()(pixels)
    for first, second, third in zip(before, after, in_training, strict=True):
        assert torch.allclose(first, second, atol=1e-3)
        assert torch.allclose(first, third, atol=1e-3)  # these frames have just the statistics that were restored
    plan = plan_locator(dataclasses.replace(SETTINGS, network=read.settings), material, start=read)
    training = Trainer(plan)
    training.run(None)
    assert training.step == SETTINGS.course.steps


def test_another_network_cannot_be_read_as_a_locator(tmp_path):
    (tmp_path / "model.json").write_text('{"schema": "cardedge.locator/1"}')
    with pytest.raises(ModelError, match="no `network`"):
        read_trainable(tmp_path, [padded(np.zeros((8, 8, 3), np.uint8), SIDE)])
