"""Training of the text model, on pictures whose embeddings say what they show."""

import csv
import json

import numpy as np
import pytest

from edge.adapters.onnx import OnnxTextEmbedder
from edge.recognition.embedding import l2_normalize
from edge.recognition.model import MODEL_FILE
from edge.recognition.text_model import open_text_model
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools import train_text
from tools.drawing.cards import COLUMNS, DESCRIPTION_COLUMNS
from tools.drawing.wording import is_held_out

DIM = 32
COLORS = ("red", "blue", "green", "yellow", "pink", "gray", "teal", "brown")
SUBJECTS = ("dragon", "bird", "fish", "golem", "spirit", "tower", "insect", "orb")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A text model of 64 combinations; each embedding is the sum of a direction for its color and one for its subject."""
    folder = tmp_path_factory.mktemp("text")
    random = np.random.default_rng(0)
    colors, subjects = random.standard_normal((8, DIM)), random.standard_normal((8, DIM))
    empty = dict.fromkeys((*COLUMNS, *DESCRIPTION_COLUMNS), "")
    cards, vectors = [], []
    for number in range(128):
        color, subject = number % 8, number // 8 % 8
        cards.append({**empty, "card_id": f"card-{number}", "name": "Nameless", "color": COLORS[color], "subject": SUBJECTS[subject]})
        vectors.append(colors[color] + subjects[subject] + 0.2 * random.standard_normal(DIM))
    write_vectors_bundle(folder / "bundle", l2_normalize(np.array(vectors)))
    with (folder / "cards.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(empty))
        writer.writeheader()
        writer.writerows(cards)
    arguments = ["--index", folder / "bundle", "--cards", folder / "cards.csv", "--out", folder / "text", "--steps", 60]
    assert train_text.main([str(argument) for argument in arguments]) == 0
    return folder, colors, subjects


def test_combinations_that_were_held_out_are_found(trained):
    folder, colors, subjects = trained
    embedder = OnnxTextEmbedder(open_text_model(folder / "text"))
    pairs = [(color, subject) for color in range(8) for subject in range(8)]
    pictures = l2_normalize(np.array([colors[color] + subjects[subject] for color, subject in pairs]))
    unseen = [place for place, (color, subject) in enumerate(pairs) if is_held_out({"color": COLORS[color], "subject": SUBJECTS[subject]})]
    texts = embedder.embed([f"{COLORS[pairs[place][0]]} {SUBJECTS[pairs[place][1]]}" for place in unseen])
    nearest = np.argsort(-(texts @ pictures.T), axis=1)[:, :3]
    found = [place in row for place, row in zip(unseen, nearest, strict=True)]
    assert len(unseen) >= 5
    assert np.mean(found) > 0.7  # 3 of 64 by chance


def test_the_folder_describes_itself(trained):
    folder, _, _ = trained
    manifest = json.loads((folder / "text" / MODEL_FILE).read_text())
    assert manifest["picture_model_id"] == PROJECTION_MODEL_ID
    assert manifest["training"]["settings"]["steps"] == 60
    assert {"dragon", "red"} <= set(manifest["vocabulary"])
    assert "nameless" not in manifest["vocabulary"]
    assert (folder / "text" / "model.onnx").stat().st_size < 3_000_000


def test_a_list_of_other_cards_is_refused(trained, tmp_path, capsys):
    folder, _, _ = trained
    write_vectors_bundle(tmp_path / "other", l2_normalize(np.eye(4)), card_ids=["a", "b", "c", "d"])
    arguments = ["--index", tmp_path / "other", "--cards", folder / "cards.csv", "--out", tmp_path / "text"]
    assert train_text.main([str(argument) for argument in arguments]) == 65
    assert "describes no cards of the bundle" in capsys.readouterr().err
    assert not (tmp_path / "text").exists()
