"""Training of the network that looks closer: its samples, its labels, a step of training, resuming, and its export."""

import json

import numpy as np
import pytest
import torch

from edge.adapters.onnx import OnnxDetector
from edge.errors import DataError
from edge.recognition.locator_model import open_locator_model
from edge.vision.corner_crops import CROP_SIZE, INNER, KINDS, CornerMaps, look
from tests.support.scene_material import drawn_material
from tests.support.small_locator import write_locator_model
from tools.exporting.corners import export_corners
from tools.network.corners import CornerNetwork, CornerOutput, CornerSettings
from tools.simulation.scenes.compose import Scene, SceneCard
from tools.training.chain import Run, run_stage
from tools.training.checkpoint import load, save
from tools.training.corners import (
    CROPS,
    CornerLossWeights,
    CornerObjective,
    CornerTraining,
    CropSamples,
    beside,
    label,
    moved,
    plan_corners,
    trained_corners,
)
from tools.training.locator import SceneSamples, SceneShares
from tools.training.loop import Trainer
from tools.training.processes import SINGLE_PROCESS
from tools.training.schedule import ResolutionPhase, Schedule

TINY = CornerSettings(widths=(4, 4, 8, 8), depths=(1, 1, 1), neck=8)
SETTINGS = CornerTraining(TINY, Schedule(pictures=(ResolutionPhase(96, 2),), steps=2, threads=1, workers=0, save_every_s=1e9))
CARD = np.array([[30.0, 20.0], [93.0, 22.0], [91.0, 110.0], [28.0, 108.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def proposer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locator")
    write_locator_model(folder)
    return folder


def scene_of(*cards, ignored=()):
    return Scene(np.full((140, 140, 3), 90, np.uint8), cards, ignored)


def card(*, side="face", oriented=True, visible=1.0):
    return SceneCard(CARD, side, oriented, visible)


def test_a_proposal_of_a_card_is_labeled_with_its_corners_whichever_way_up():
    found = label(scene_of(card()), CARD)
    assert np.allclose(found.corners, INNER, atol=0.01)
    assert (found.inside.tolist(), found.kind, found.upright) == ([1.0] * 4, KINDS.index("face"), 1)
    turned = label(scene_of(card()), np.roll(CARD, 2, axis=0))
    assert np.allclose(turned.corners, INNER, atol=0.01)
    assert turned.upright == 0
    assert label(scene_of(card(side="back", oriented=False)), CARD).kind == KINDS.index("back")
    assert label(scene_of(card(oriented=False)), CARD).upright == -1


def test_a_place_without_a_card_is_labeled_so_unless_it_is_to_be_ignored():
    far = CARD + 200.0
    assert label(scene_of(card()), far).kind == KINDS.index("none")
    assert label(scene_of(card(), ignored=(far,)), far).kind == -1
    assert label(scene_of(card(visible=0.2)), CARD).kind == -1
    assert not label(scene_of(), CARD).inside.any()


def test_a_third_of_a_card_is_neither_a_card_nor_none():
    part = CARD.copy()
    part[2:] = 0.35 * CARD[2:] + 0.65 * CARD[[1, 0]]
    found = label(scene_of(card()), part)
    assert (found.kind, found.upright) == (-1, -1)


def test_samples_repeat_and_hold_cards_and_places_without(proposer):
    samples = CropSamples(SceneSamples(drawn_material(), 128, 5, SceneShares()), proposer)
    crops, corners, inside, kinds, upright = samples[3]
    assert crops.shape == (CROPS, CROP_SIZE.height, CROP_SIZE.width, 3)
    assert (corners.shape, inside.shape, kinds.shape, upright.shape) == ((CROPS, 4, 2), (CROPS, 4), (CROPS,), (CROPS,))
    assert all(np.array_equal(first, second) for first, second in zip(samples[3], samples[3], strict=True))
    kinds = np.concatenate([samples[number][3] for number in range(12)])
    assert {KINDS.index("face"), KINDS.index("none")} <= set(kinds.tolist())


def test_moved_outlines_stay_near_and_others_do_not():
    rng = np.random.default_rng(1)
    near = np.stack([moved(CARD, rng) for _ in range(50)])
    assert np.abs(near - CARD).max(axis=(1, 2)).mean() < 0.25 * 88
    assert np.stack([beside(CARD, rng) for _ in range(50)]).shape == (50, 4, 2)


def perfect(corners, kinds, upright):
    x = (torch.arange(24) + 0.5) * 4 - 0.5
    y = (torch.arange(32) + 0.5) * 4 - 0.5
    logits = (
        -((x[None, None, None, :] - corners[:, :, 0, None, None]) ** 2 + (y[None, None, :, None] - corners[:, :, 1, None, None]) ** 2) / 26
    )
    answer = torch.cat([20.0 * torch.nn.functional.one_hot(kinds, 3), (40.0 * upright - 20.0)[:, None]], dim=1)
    return CornerOutput(logits, answer)


def test_the_loss_of_a_right_answer_is_small_and_unknown_labels_do_not_count():
    objective = CornerObjective(CornerNetwork(TINY), CornerLossWeights())
    corners = torch.from_numpy(INNER)[None].repeat(2, 1, 1)
    inside, kinds, upright = torch.ones(2, 4), torch.tensor([0, 2]), torch.tensor([1.0, 0.0])
    right = objective.terms(perfect(corners, kinds, upright), corners, inside, kinds, upright)
    assert right["positions"] < 0.004
    assert right["kinds"] + right["upright"] < 1e-3
    wrong = objective.terms(perfect(corners + 8.0, kinds.flip(0), 1.0 - upright), corners, inside, kinds, upright)
    assert wrong["positions"] > 0.1
    unknown = objective.terms(perfect(corners + 8.0, kinds, upright), corners, 0 * inside, 0 * kinds - 1, 0 * upright - 1)
    assert float(unknown["loss"]) == 0.0


def test_a_resumed_training_is_that_of_an_uninterrupted_one(proposer, tmp_path):
    plan = plan_corners(SETTINGS, drawn_material(), proposer)
    whole = Trainer(plan)
    whole.run(None)
    half = Trainer(plan_corners(SETTINGS, drawn_material(), proposer))
    pixels, labels = next(half._batches(SETTINGS.course.pictures[0]))
    half._train_step(pixels, labels, SETTINGS.course.pictures[0])
    save(tmp_path / "last.pt", half.state())
    resumed = Trainer(plan_corners(SETTINGS, drawn_material(), proposer))
    resumed.restore_from(tmp_path)
    resumed.run(None)
    assert [entry["loss"] for entry in resumed.log] == pytest.approx([entry["loss"] for entry in whole.log], rel=1e-5)


def test_the_export_answers_as_the_network_does(proposer, tmp_path):
    run_stage(plan_corners(SETTINGS, drawn_material(), proposer, ("X",)), Run(tmp_path / "run", resume=False, processes=SINGLE_PROCESS))
    state = load(tmp_path / "run" / "last.pt")
    assert state["stages"][-1]["views"] == SETTINGS.course.steps * 2 * CROPS
    folder = tmp_path / "model"
    write_locator_model(folder)
    export_corners(tmp_path / "run" / "last.pt", folder, card=0.4)
    record = json.loads((folder / "model.json").read_text())
    assert record["closer"]["trained_on"]["held_out"] == ["X"]
    detector = OnnxDetector(open_locator_model(folder))
    assert detector.info.closer.card == 0.4
    crops = np.random.default_rng(1).integers(0, 256, (3, CROP_SIZE.height, CROP_SIZE.width, 3), dtype=np.uint8)
    network = trained_corners(state)
    with torch.no_grad():
        expected = network(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    got = look(detector.look_closer(crops))
    assert np.allclose(look(CornerMaps(expected.corners.numpy(), expected.kinds.numpy())).corners, got.corners, atol=0.05)


def test_a_checkpoint_of_another_network_is_named():
    with pytest.raises(DataError, match=r"tools\.training corners"):
        trained_corners({"network_settings": {"kind": "locator"}})
