"""The command on a small scanner: thresholds land in the manifest, twice the same, and bad input changes nothing."""

import csv
import json
import re
import shutil

import pytest

from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import read_manifest
from edge.cli.index_info import bundle_text
from edge.errors import ExitCode
from tests.support.small_scanner import make_small_scanner, save
from tools import build_index
from tools.calibrate import main
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.evaluation.bundle_calibration import half_look_alikes, strictness_warning
from tools.evaluation.scale import with_nearest_look_alike
from tools.simulation.camera import PRESETS


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A small scanner with its pictures as files, a card that is in no index, and two pictures without a card."""
    folder = tmp_path_factory.mktemp("calibrate")
    world = make_small_scanner(folder)
    for name in ("images", "strangers", "negatives"):
        (folder / name).mkdir()
    with (folder / "cards.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["card_id", "name", "image", "set"])
        for number, (card_id, picture) in enumerate(world.images.items()):
            save(folder / "images" / f"{card_id}.png", picture)
            rows.writerow([card_id, f"Name {card_id}", f"{card_id}.png", "odd" if number % 2 else "even"])
    for spec in card_specs(1, seed=99):
        save(folder / "strangers" / f"{spec.card_id}.png", over_white(draw_card(spec)))
    for shade in (40, 200):
        picture = world.unknown_card.copy()
        picture[::7] = shade
        picture[:, ::5] = 255 - shade
        save(folder / "negatives" / f"{shade}.png", picture[:100, :160])
    return folder


@pytest.fixture
def bundle(material, tmp_path):
    return shutil.copytree(material / "index", tmp_path / "index")


def arguments(material, bundle, *more):
    paths = {"--images": "images", "--cards": "cards.csv", "--negatives": "negatives", "--strangers": "strangers", "--model": "hef/tiny"}
    named = [part for option, name in paths.items() for part in (option, str(material / name))]
    return ["--index", str(bundle), *named, "--sets", "even", "--limit", "2", "--views", "1", "--threads", "1", *more]


def test_thresholds_land_in_the_manifest_twice_the_same(material, bundle, tmp_path, capsys):
    before = read_manifest(bundle)
    again = shutil.copytree(bundle, tmp_path / "again")
    assert main(arguments(material, bundle, "--date", "2026-01-01", "--json")) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert main(arguments(material, again, "--date", "2026-02-02")) == ExitCode.OK
    opened = open_bundle(bundle)
    calibration = opened.manifest.calibration
    assert told["bundle_id"] == opened.manifest.bundle_id == read_manifest(again).bundle_id != before.bundle_id
    assert told["thresholds"]["weights"]["intercept"] == opened.thresholds.weights.intercept
    assert calibration.provenance.measured.isoformat() == "2026-01-01"
    assert read_manifest(again).calibration.thresholds == calibration.thresholds
    assert (calibration.provenance.cards, calibration.provenance.known_views, calibration.provenance.left_out_views) == (2, 18, 18)
    assert (calibration.provenance.stranger_views, calibration.provenance.negative_views) == (9, 1)
    assert calibration.figures["false_accept_rate"] <= 0.01
    assert calibration.figures["negatives_refused"] == 1.0
    assert len(calibration.curve) > 20
    table = capsys.readouterr().out
    assert all(preset in table for preset in PRESETS)


def test_the_limit_limits_the_work_and_progress_needs_no_terminal(material, bundle, capsys):
    assert main(arguments(material, bundle, "--limit", "4", "--dry-run", "--json")) == ExitCode.OK
    told = capsys.readouterr()
    provenance = json.loads(told.out)["provenance"]
    assert provenance["known_views"] == 4 * len(PRESETS)
    estimate, _, progress = told.err.partition("\n")
    assert re.fullmatch(rf"{5 * len(PRESETS) + 1} views to compare, about \d+ min", estimate)
    assert " of " in progress
    assert "views\n" in told.err


def test_half_of_the_cards_are_the_nearest_look_alikes_and_their_risk_is_told(material, bundle, capsys):
    assert main(arguments(material, bundle)) == ExitCode.OK
    assert "of the nearest look-alikes" in capsys.readouterr().out
    opened = open_bundle(bundle)
    assert {"ordinary_refused", "look_alikes_refused", "recolored_refused", "lone_refused"} <= set(opened.manifest.calibration.figures)
    assert "of the nearest look-alikes" in bundle_text(opened)
    scans = [(card_id, material) for card_id in opened.gallery.cards]
    chosen, look_alikes = half_look_alikes(opened, scans, 4, seed=1)
    assert (len(chosen), len(look_alikes)) == (4, 2)
    assert look_alikes == set(with_nearest_look_alike(opened, 2))


def test_a_bundle_is_built_and_calibrated_in_one_go(material, tmp_path, capsys):
    places = [("--images", material / "images"), ("--cards", material / "cards.csv"), ("--model", material / "hef/tiny")]
    options = [str(part) for pair in (*places, ("--out", tmp_path / "built")) for part in pair]
    options += ["--calibrate-limit", "2", "--threads", "1", "--no-cache", "--min-recall", "0"]
    missing = [*options, "--calibrate", "--negatives", str(tmp_path / "missing")]
    assert build_index.main(missing) == ExitCode.BAD_DATA  # before anything is embedded
    assert not (tmp_path / "built").exists()
    assert build_index.main([*options, "--negatives", str(material / "negatives")]) == ExitCode.USAGE
    capsys.readouterr()
    assert build_index.main([*options, "--calibrate", "--negatives", str(material / "negatives"), "--json"]) == ExitCode.OK
    manifest = read_manifest(tmp_path / "built")
    assert manifest.calibration.provenance.cards == 2
    assert json.loads(capsys.readouterr().out)["bundle_id"] == manifest.bundle_id


def test_a_trial_leaves_the_bundle_as_it_is(material, bundle, capsys):
    before = read_manifest(bundle)
    assert main(arguments(material, bundle, "--limit", "1", "--dry-run")) == ExitCode.OK
    assert read_manifest(bundle) == before
    assert "unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        (["--sets", "none-such"], ExitCode.BAD_DATA, "lists no card of"),
        (["--negatives", "missing"], ExitCode.BAD_DATA, "missing: cannot be read"),
        (["--cards", "missing.csv"], ExitCode.BAD_DATA, "missing.csv"),
    ],
)
def test_bad_material_changes_nothing(material, bundle, capsys, more, status, says):
    before = read_manifest(bundle)
    assert main(arguments(material, bundle, *more)) == status
    assert says in capsys.readouterr().err
    assert read_manifest(bundle) == before


@pytest.mark.parametrize("share", ["0", "0.7", "-1"])
def test_a_false_acceptance_that_is_none_is_refused(material, bundle, share):
    with pytest.raises(SystemExit) as caught:
        main(arguments(material, bundle, "--false-acceptance", share))
    assert caught.value.code == ExitCode.USAGE


@pytest.mark.parametrize(("named", "says"), [(0.95, None), (0.7, None), (0.31, "only 31 % of the views of its own cards are named")])
def test_thresholds_that_refuse_the_bundles_own_cards_are_told(named, says):
    warning = strictness_warning({"true_accept_rate": named}, 0.01)
    assert warning is None if says is None else (warning.startswith(says) and "--false-acceptance" in warning)
