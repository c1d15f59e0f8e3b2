"""Searching a bundle by description."""

import json

import pytest

from edge.cli.main import main
from edge.errors import ExitCode
from edge.recognition.embedding import l2_normalize
from edge.vision.card import Size
from tests.support.paths import ROOT
from tests.support.small_text_model import random_weights, write_text_model
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools.benchmarks.vectors import random_vectors
from tools.drawing.depiction import attributes
from tools.drawing.layout import draw_described_card
from tools.drawing.wording import full_description
from tools.network.text_onnx import embed_texts
from tools.sample_bundle import sample_specs
from tools.vectors.reduction import fit_pca

DIM = 16
TEXT = "red dragon"


@pytest.fixture
def bundle(tmp_path):
    """Random cards, and one whose embedding is that of the description."""
    vectors = random_vectors(12, DIM)
    vectors[7] = l2_normalize(embed_texts([TEXT], random_weights(DIM)) + 0.05 * vectors[7:8])[0]
    write_vectors_bundle(tmp_path / "bundle", vectors)
    return tmp_path / "bundle"


@pytest.fixture
def text_model(tmp_path):
    write_text_model(tmp_path / "text-small", PROJECTION_MODEL_ID, DIM)
    return tmp_path / "text-small"


def search(capsys, *arguments):
    status = main(["index", "search", *map(str, arguments)])
    printed, errors = capsys.readouterr()
    return status, printed, errors


def test_the_card_that_fits_best_comes_first(bundle, text_model, capsys):
    status, printed, errors = search(capsys, "--describe", TEXT, "--text-model", text_model, "--index", bundle, "--limit", 3, "--json")
    found = [json.loads(line) for line in printed.splitlines()]
    assert (status, errors, len(found)) == (ExitCode.OK, "", 3)
    assert found[0]["card_id"] == "card-7"
    assert found[0]["similarity"] > 0.9
    assert found[0]["similarity"] >= found[1]["similarity"] >= found[2]["similarity"]


def test_words_without_training_are_reported_beside_the_answer(bundle, text_model, capsys):
    status, printed, errors = search(capsys, "--describe", "red samurai dragon", "--text-model", text_model, "--index", bundle)
    assert (status, len(printed.splitlines())) == (ExitCode.OK, 6)
    assert errors == "words that the text model was not trained with: samurai\n"


def test_a_text_model_of_another_picture_model_is_refused_by_name(bundle, tmp_path, capsys):
    write_text_model(tmp_path / "other", "f" * 16, DIM)
    status, printed, errors = search(capsys, "--describe", TEXT, "--text-model", tmp_path / "other", "--index", bundle)
    assert (status, printed) == (ExitCode.BAD_DATA, "")
    assert f"pictures of model {'f' * 16}" in errors
    assert f"embedded by {PROJECTION_MODEL_ID}" in errors


@pytest.mark.parametrize(
    ("text", "status", "message"), [("...", ExitCode.USAGE, "contains no word"), ("", ExitCode.USAGE, "contains no word")]
)
def test_a_description_without_words_is_refused(bundle, text_model, capsys, text, status, message):
    found, printed, errors = search(capsys, "--describe", text, "--text-model", text_model, "--index", bundle)
    assert (found, printed) == (status, "")
    assert message in errors


def test_a_folder_without_a_text_model_is_named(bundle, tmp_path, capsys):
    found, _, errors = search(capsys, "--describe", TEXT, "--text-model", tmp_path / "nothing", "--index", bundle)
    assert found == ExitCode.BAD_DATA
    assert "nothing: no readable model.json" in errors


def test_a_bundle_with_reduced_vectors_is_searched_too(text_model, tmp_path, capsys):
    vectors = random_vectors(40, DIM)
    vectors[7] = l2_normalize(embed_texts([TEXT], random_weights(DIM)) + 0.05 * vectors[7:8])[0]
    reduction = fit_pca(vectors, 12)
    write_vectors_bundle(tmp_path / "reduced", reduction.projection.apply(vectors), reduction=reduction)
    status, printed, _ = search(capsys, "--describe", TEXT, "--text-model", text_model, "--index", tmp_path / "reduced", "--limit", 1)
    assert status == ExitCode.OK
    assert "card-7" in printed


def test_the_shipped_text_model_finds_cards_of_the_sample_bundle(capsys):
    """Ten of 54 artworks by chance would be right for one description in five."""
    bundle, found = ROOT / "index" / "sample", 0
    specs = sample_specs()[:24]
    for spec in specs:
        depiction = draw_described_card(spec, Size(126, 176))[1]
        text = full_description({**attributes(spec, depiction), "name": spec.name})
        status, printed, errors = search(capsys, "--describe", text, "--index", bundle, "--limit", 10, "--json")
        assert (status, errors) == (ExitCode.OK, "")
        found += any(spec.card_id in json.loads(line)["printings"] for line in printed.splitlines())
    assert found / len(specs) > 0.45
