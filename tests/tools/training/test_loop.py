"""The training loop: its schedule, checkpoints, a killed run, and two processes instead of one."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edge.errors import DataError
from tests.support.paths import ROOT
from tests.support.tiny_training import COURSE, SIDE, TINY, WARM
from tools.network.factory import make_network
from tools.training.chain import Run, run_stage
from tools.training.checkpoint import load, open_trained, save
from tools.training.loop import Trainer
from tools.training.processes import SINGLE_PROCESS
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.warm import plan_warm


def plan(dataset, **changes):
    """Return the plan of a warm start with ``changes`` to its schedule."""
    return plan_warm(dataclasses.replace(WARM, course=dataclasses.replace(COURSE, **changes)), dataset)


def losses(log):
    return [entry["loss"] for entry in log]


def test_training_lowers_the_loss_and_ends_with_its_budget(dataset):
    training = Trainer(plan(dataset, steps=20, pictures=(ResolutionPhase(SIDE, 8),), learning_rate=3e-3))
    training.run(None)
    assert training.step == 20
    assert np.mean(losses(training.log)[-6:]) < 0.95 * np.mean(losses(training.log)[:6])


def test_image_size_and_learning_rate_follow_the_budget():
    assert [COURSE.phase_at(COURSE.progress(step, 0.0)).side for step in range(8)] == [SIDE] * 6 + [40] * 2
    rates = [COURSE.learning_rate_at(COURSE.progress(step, 0.0)) for step in range(9)]
    assert max(rates) <= COURSE.learning_rate
    assert rates[-1] == pytest.approx(COURSE.learning_rate * COURSE.final_rate_share)
    timed = Schedule(minutes=2.0)
    assert timed.progress(7, 30.0) == 0.25
    assert timed.remaining_s(7, 30.0) == pytest.approx(90.0)


def test_the_moving_average_lags_behind(dataset):
    training = Trainer(plan(dataset, steps=4))
    start = training.average.state_dict()["head.project.weight"].clone()
    training.run(None)
    now, average = (network.state_dict()["head.project.weight"] for network in (training.objective.network, training.average))
    assert 0.0 < float((average - start).norm()) < float((now - start).norm())


@pytest.mark.parametrize("cutmix", [0.0, 0.7])
def test_a_resumed_run_gives_the_same_losses(dataset, tmp_path, cutmix):
    whole = Trainer(plan(dataset, cutmix=cutmix))
    whole.run(tmp_path / "whole")

    half = Trainer(plan(dataset, cutmix=cutmix))
    phase = half.plan.schedule.pictures[0]
    half.objective.train()
    for _, (pixels, labels) in zip(range(3), half._batches(phase), strict=False):
        half._train_step(pixels, labels, phase)
    save(tmp_path / "half" / "last.pt", half.state())
    resumed = Trainer(plan(dataset, cutmix=cutmix))
    resumed.restore_from(tmp_path / "half")
    resumed.run(None)

    assert [entry["step"] for entry in resumed.log] == list(range(1, 9))
    assert losses(resumed.log) == pytest.approx(losses(whole.log), rel=1e-5)
    assert resumed.samples == whole.samples == 6 * 6 + 2 * 4


def test_cutmix_changes_the_loss(dataset):
    plain, mixed = (Trainer(plan(dataset, steps=2, cutmix=cutmix)) for cutmix in (0.0, 1.0))
    for training in (plain, mixed):
        training.run(None)
    assert losses(plain.log)[0] != pytest.approx(losses(mixed.log)[0], rel=1e-4)


def test_settings_are_saved_in_the_checkpoint_and_beside_it(dataset, tmp_path):
    state = run_stage(plan(dataset, steps=2), Run(tmp_path, resume=False, processes=SINGLE_PROCESS))
    record = state["stages"][-1]
    assert record["settings"]["course"]["learning_rate"] == COURSE.learning_rate
    assert record["views"] == 12
    assert json.loads((tmp_path / "settings.json").read_text())["settings"]["course"]["seed"] == COURSE.seed
    assert open_trained(tmp_path / "last.pt").held_out == ("T2",)


def test_a_run_is_not_overwritten_by_accident(dataset, tmp_path):
    run_stage(plan(dataset, steps=1), Run(tmp_path, resume=False, processes=SINGLE_PROCESS))
    with pytest.raises(DataError, match="--resume"):
        run_stage(plan(dataset, steps=1), Run(tmp_path, resume=False, processes=SINGLE_PROCESS))


@pytest.mark.parametrize(("changes", "message"), [({"learning_rate": 1.0}, "learning_rate"), ({"seed": 5}, "seed")])
def test_resuming_with_other_settings_is_refused(dataset, changes, message):
    state = Trainer(plan(dataset)).state()
    with pytest.raises(DataError, match=message):
        Trainer(plan(dataset, **changes)).restore(state)
    Trainer(plan(dataset, workers=1, threads=2)).restore(state)


def test_a_checkpoint_of_another_network_is_refused(dataset):
    other = plan_warm(dataclasses.replace(WARM, network=dataclasses.replace(TINY, layout_channels=4)), dataset)
    with pytest.raises(DataError, match="layout_channels"):
        Trainer(other).restore(Trainer(plan(dataset)).state())


def test_a_file_that_is_not_a_checkpoint_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"last\.pt"):
        load(tmp_path / "last.pt")


def test_a_warm_start_uses_the_given_network(dataset):
    network = make_network(TINY)
    assert plan_warm(WARM, dataset, network=network).objective.network is network


# --- real processes ---

SCRIPT = """
import dataclasses, sys
from pathlib import Path
from tests.support.tiny_training import COURSE, SIDE, TINY, WARM
from tools.training.chain import Run, run_stage
from tools.training.schedule import ResolutionPhase
from tools.training.dataset import Dataset
from tools.training.processes import joined_processes
from tools.training.warm import plan_warm

data, out, resume, steps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume", int(sys.argv[4])
schedule = dataclasses.replace(COURSE, steps=steps, pictures=(ResolutionPhase(SIDE, 6),), save_every_s=0.0)
settings = dataclasses.replace(WARM, network=dataclasses.replace(TINY, norm="layer"), course=schedule)
with joined_processes() as processes:
    plan = plan_warm(settings, Dataset.read(data, ("T2",)), processes)
    run_stage(plan, Run(out, resume, processes))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def unbroken(script, data, tmp_path_factory):
    """The log of an uninterrupted run of twelve steps."""
    out = tmp_path_factory.mktemp("unbroken")
    subprocess.run([sys.executable, script, data, out, "new", "12"], env=ENVIRONMENT, check=True, timeout=200)
    return load(out / "last.pt")["log"]


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_losses(script, data, unbroken, tmp_path):
    last = tmp_path / "last.pt"
    process = subprocess.Popen([sys.executable, script, data, tmp_path, "new", "12"], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if last.exists() and load(last)["step"] >= 3:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    process.wait(timeout=60)
    step = load(last)["step"]
    subprocess.run([sys.executable, script, data, tmp_path, "resume", "12"], env=ENVIRONMENT, check=True, timeout=200)
    log = load(last)["log"]
    assert 3 <= step <= 12
    assert [entry["step"] for entry in log] == list(range(1, 13))
    assert losses(log) == pytest.approx(losses(unbroken), rel=1e-5)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(script, data, unbroken, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, script, data, tmp_path, "new", "12"], env=ENVIRONMENT, check=True, timeout=280)
    state = load(tmp_path / "last.pt")
    assert "2 processes" in state["stages"][-1]["machine"]
    assert [entry["step"] for entry in state["log"]] == list(range(1, 13))
    assert losses(state["log"]) == pytest.approx(losses(unbroken), rel=2e-3)
