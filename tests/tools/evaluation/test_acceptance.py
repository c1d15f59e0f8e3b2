"""`tools.evaluate --acceptance` on a small scanner, and the page it writes."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from edge.recognition.decision import Candidate, Identified, RejectReason, Unknown
from tests.support.few_lone_cards import measure_few_lone_cards
from tools import evaluate
from tools.evaluation.acceptance.failures import KEPT_PER_KIND, FailureGallery
from tools.evaluation.acceptance.tracks import FRAMES, last_decision, one_scene
from tools.evaluation.queries import MEASURING, Dataset, Query, choose_scans, half_of_negatives, views
from tools.simulation.camera import PRESETS

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects what a page holds and what it asks for; fails for tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_scanner):
    folder = tmp_path_factory.mktemp("acceptance")
    with (folder / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "name", "image", "set"])
        for number, (card_id, picture) in enumerate(small_scanner.images.items()):
            Image.fromarray(picture).save(folder / f"{card_id}.png")
            writer.writerow([card_id, card_id, f"{card_id}.png", "T1" if number < 2 else "T2"])
    (folder / "negatives").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).resize((400, 300)).save(folder / "negatives" / f"{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def accepted(folder, small_scanner, tmp_path_factory):
    """One run of the tool: (exit status, records, the page's folder)."""
    report = tmp_path_factory.mktemp("report")
    lines, status = run(folder, small_scanner, "--views", "clean,camera-4,camera-8", "--tracks", "1", "--json", "--report", str(report))
    return status, [json.loads(line) for line in lines.splitlines()], report


def run(folder, small_scanner, *more):
    places = ["--index", small_scanner.index, "--model", small_scanner.model, "--images", folder, "--cards", folder / "cards.csv"]
    options = [*places, "--negatives", folder / "negatives", "--acceptance", "--sets", "T1", "--strangers", "6", *more]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("tools.evaluation.acceptance.backends.CALIBRATION_VIEWS", 12)
        measure_few_lone_cards(patch)
        patch.setattr("builtins.print", lambda *args, **kwargs: kwargs.get("file") is None and printed.append(" ".join(map(str, args))))
        status = evaluate.main([str(option) for option in options])
    return "\n".join(printed), status


def test_every_criterion_has_a_row(accepted):
    status, records, _ = accepted
    rows = [record for record in records if record["table"] == "acceptance"]
    assert {row["key"] for row in rows} == {
        "AC-1",
        "AC-4",
        "AC-5",
        "AC-6",
        "AC-7",
        "AC-8",
        "int8",
    }  # no occluded-20, no glare was asked for
    assert status == 0
    by_what = {(row["key"], row["what"]): row for row in rows}
    assert by_what["AC-1", "clean: the nearest artwork is the right one"]["n"] == 4
    assert by_what["AC-4", "cards left out of the index: refused"]["n"] == 12
    lone = {what: row["n"] for (_, what), row in by_what.items() if what.startswith("lone cards")}
    assert {what: n > 0 for what, n in lone.items()} == {
        f"lone cards of {layout}, uncalibrated: {answer}": True
        for layout in ("spell", "catalog")
        for answer in ("named", "others of the layout refused")
    }
    assert by_what["AC-6", "two views of one card: cosine > 0.8"]["n"] == 2
    assert by_what["AC-8", "student and teacher: mean cosine"]["value"] is None
    assert by_what["int8", "mean cosine of 8 bits to single precision"]["value"] > 0.9
    assert all(row["passed"] is None for row in rows if row["key"] == "AC-5")


def test_views_tracks_and_curve_are_counted(accepted):
    _, records, _ = accepted
    views = {record["view"]: record for record in records if record["table"] == "views"}
    assert list(views) == ["clean", "camera-4", "camera-8"]
    assert views["clean"]["verified_top1"]["value"] == 1.0
    assert all(low <= view["named"]["value"] <= high for view in views.values() for low, high in [view["named"]["interval_95"]])
    (tracks,) = [record for record in records if record["table"] == "tracks"]
    assert (tracks["preset"], tracks["frames"]["asked"], tracks["tracks"]["asked"]) == ("camera-8", FRAMES, 1)
    (curve,) = [record for record in records if record["table"] == "risk_coverage"]
    assert 0.0 <= curve["coverage"] <= 1.0
    assert curve["n"] == 2 * 12 + 2 + 6 + 6


def test_the_page_is_whole_and_asks_for_nothing(accepted):
    _, records, report = accepted
    assert [path.name for path in report.iterdir()] == ["index.html"]
    page = Page((report / "index.html").read_text(encoding="utf-8"))
    assert page.tags.count("table") == 3
    assert page.tags.count("svg") == 2
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    text = " ".join(page.text)
    assert "AC-7" in text
    assert "http" not in text
    assert "Named, though it is not in the index" in text or not any(
        record["absent_named"]["hits"] for record in records if record["table"] == "views"
    )


def test_missed_bounds_end_with_a_status_only_when_asked_to(folder, small_scanner):
    text, status = run(folder, small_scanner, "--views", "camera-8", "--limit", "1", "--tracks", "1", "--strict")
    assert status == (evaluate.BOUND_MISSED if "FAIL" in text else 0)
    assert "| camera-8 |" in text
    assert "FAIL" in text  # a thumbnail's projection does not refuse unknown cards


@pytest.mark.parametrize("option", ["--strict", "--report=x", "--teacher=x"])
def test_options_of_the_acceptance_need_it(folder, small_scanner, option, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--index", "x", "--images", "x", "--cards", "x", option])
    assert "belongs to --acceptance" in capsys.readouterr().err


# --- parts ---


def named(card_id, group, verification=0.9):
    best = Candidate(card_id, group, 0.9, verification, 0)
    return Identified(best, 0.5, (card_id,), (best,))


UNKNOWN = Unknown(RejectReason.FAILED_VERIFICATION, 0.0, (Candidate("a", "a", 0.4, 0.3, 0),))


def test_a_track_needs_agreement_not_one_weak_name():
    assert last_decision([UNKNOWN] * FRAMES) == UNKNOWN
    one_weak = [named("a", "a", 0.75), *[UNKNOWN] * (FRAMES - 1)]
    assert not isinstance(last_decision(one_weak), Identified)
    agreeing = [UNKNOWN, named("a", "a", 0.75), UNKNOWN, named("a", "a", 0.75), *[UNKNOWN] * (FRAMES - 4)]
    assert last_decision(agreeing).best.card_id == "a"
    assert last_decision([]) is None


def test_frames_of_a_track_share_their_scene():
    scene = one_scene(PRESETS["hard-light-glare-6"], np.random.default_rng(3))
    assert scene.light[0] == scene.light[1]
    assert scene.glare[0] == scene.glare[1]
    assert scene.foil in {0.0, 1.0}
    assert scene.corner_error == PRESETS["hard-light-glare-6"].corner_error
    assert one_scene(PRESETS["hard-light-glare-6"], np.random.default_rng(4)) != scene


def test_the_failures_of_each_view_are_shown_in_turn(small_scanner):
    from edge.bundles.bundle import open_bundle  # noqa: PLC0415

    gallery = open_bundle(small_scanner.index).gallery
    card_id, other, *_ = gallery.cards
    failures = FailureGallery(gallery)
    query = Query(np.zeros((352, 252, 3), np.uint8), card_id)
    for number in range(2 * KEPT_PER_KIND):
        failures.view = "many"
        failures.add(query, named(other, gallery.artwork_group(other), 0.5 + number / 100), indexed=True)
    failures.view = "few"
    failures.add(query, named(other, gallery.artwork_group(other)), indexed=True)
    failures.add(query, named(card_id, gallery.artwork_group(card_id)), indexed=True)
    failures.add(query, UNKNOWN, indexed=False)
    assert failures.count("wrong") == 2 * KEPT_PER_KIND + 1
    assert failures.count("unindexed") == failures.count("refused") == 0
    shown = failures.typical()["wrong"]
    assert len(shown) == KEPT_PER_KIND
    assert [failure.view for failure in shown[:3]] == ["many", "few", "many"]
    assert shown[0].score == pytest.approx(0.5 + (2 * KEPT_PER_KIND - 1) / 100)


def test_measuring_takes_the_other_half_of_the_negatives(folder):
    assert [path.name for path in half_of_negatives(folder / "negatives", MEASURING)] == ["1.jpg", "3.jpg"]


def test_equal_seeds_give_equal_views(folder, small_scanner):
    known = frozenset(small_scanner.images)

    def first(seed):
        scans = choose_scans(folder / "cards.csv", folder, known, limit=1, seed=seed)
        dataset = Dataset(scans, half_of_negatives(folder / "negatives", MEASURING), seed, views_per_card=1)
        return next(views(dataset, "camera-4")).pixels

    assert np.array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))
