import csv
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.card import CARD_SIZE, Size
from tools.drawing.cards import DESCRIPTION_COLUMNS, over_white
from tools.drawing.catalog import SHARES, catalog_specs
from tools.drawing.creatures import CREATURES
from tools.drawing.depiction import DRAWN_TRAITS, caption, color_name
from tools.drawing.layout import ART_BOXES, art_box, draw_card, draw_described_card
from tools.make_cards import main

SMALL = Size(126, 176)
CATALOG = catalog_specs(1200, seed=5)
BY_ID = {spec.card_id: spec for spec in CATALOG}


def related(relation, count=2):
    return [(BY_ID[spec.related_to], spec) for spec in CATALOG if spec.relation == relation][:count]


def art(spec, size=CARD_SIZE):
    """Return the middle of the illustration as float64, without what is printed over its edges."""
    pixels = over_white(draw_card(spec, size)).astype(np.float64)
    rows, columns = art_box(spec, size)
    return pixels[rows.start + 4 : rows.stop - 34, columns.start + 4 : columns.stop - 34]


def test_a_smaller_catalog_is_the_beginning_of_a_larger_one():
    assert catalog_specs(150, seed=5) == CATALOG[:150]
    assert catalog_specs(20, seed=6) != CATALOG[:20]


def test_the_shares_of_the_relations_are_those_stated():
    counts = Counter(spec.relation for spec in CATALOG)
    for relation, share in SHARES.items():
        assert counts[relation] / len(CATALOG) == pytest.approx(share, abs=0.04)
    assert len(BY_ID) == len(CATALOG)


def test_most_cards_share_their_frame_with_many_others():
    frames = Counter((spec.frame, spec.layout, spec.family) for spec in CATALOG)
    assert np.median([frames[spec.frame, spec.layout, spec.family] for spec in CATALOG]) > 25


def test_cards_of_one_frame_differ_only_inside_it():
    same = [spec for spec in CATALOG if (spec.layout, spec.family, spec.rarity) == ("creature", "leaf", "common")][:2]
    images = [over_white(draw_card(spec)).astype(np.int64) for spec in same]
    outside = np.zeros((CARD_SIZE.height, CARD_SIZE.width), dtype=bool)
    outside[40:186, 9:15] = True
    assert (images[0][outside] == images[1][outside]).all()
    assert np.abs(images[0] - images[1]).max() > 60


@pytest.mark.parametrize(("original", "again"), related("reprint"))
def test_a_reprint_has_the_same_artwork_and_another_number(original, again):
    assert again.artwork_group == original.artwork_group
    assert again.collector_number != original.collector_number or again.set_code != original.set_code
    if not {original.rarity, again.rarity} & {"epic", "legendary"} and ART_BOXES[original.layout].left > 0:
        assert (art(original) == art(again)).all()
    assert np.abs(over_white(draw_card(original)).astype(int) - over_white(draw_card(again))).max() > 40


@pytest.mark.parametrize(("original", "again"), related("recolor"))
def test_a_recolor_is_the_same_drawing_in_other_colors(original, again):
    assert again.artwork_group != original.artwork_group
    grays = [cv2.Laplacian(cv2.GaussianBlur(art(spec).mean(axis=2), (0, 0), 1.5), cv2.CV_64F).ravel() for spec in (original, again)]
    assert np.corrcoef(*grays)[0, 1] > 0.6
    assert np.abs(art(original) - art(again)).max() > 40


@pytest.mark.parametrize("relation", ["pose", "full-art"])
def test_a_similar_pose_shows_the_same_subject_in_its_own_artwork(relation):
    for original, again in related(relation, 6):
        assert again.artwork_group != original.artwork_group
        shown = [draw_described_card(spec, SMALL)[1] for spec in (original, again)]
        assert (shown[0].subjects, shown[0].color, shown[0].features) == (shown[1].subjects, shown[1].color, shown[1].features)
        assert again.layout == ("full-art" if relation == "full-art" else original.layout)
        if relation == "pose":
            assert (again.frame, again.family) == (original.frame, original.family)


def test_words_do_not_depend_on_the_size_of_the_drawing():
    for spec in CATALOG[40:48]:
        assert draw_described_card(spec, SMALL)[1] == draw_described_card(spec, Size(252, 352))[1]


def test_every_kind_of_creature_has_its_traits():
    assert {painter.__name__ for painter in CREATURES} == set(DRAWN_TRAITS)


def test_a_caption_says_what_is_on_the_card():
    spec = next(spec for spec in CATALOG if spec.card_id == "C1-11")
    depiction = draw_described_card(spec, SMALL)[1]
    text = caption(spec, depiction)
    assert text.startswith(spec.name)
    for word in (depiction.color, depiction.subjects[0], depiction.scene, depiction.weather, *depiction.features, spec.rarity, spec.layout):
        assert word in text


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(0, 255), st.floats(0, 255), st.floats(0, 255)))
def test_every_color_has_a_name(color):
    assert color_name(color).isalpha()


def test_the_list_describes_every_card(tmp_path):
    assert main(["--out", str(tmp_path), "--catalog", "--count", "14", "--size", "63x88", "--format", "webp"]) == 0
    with (tmp_path / "cards.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0])[-len(DESCRIPTION_COLUMNS) :] == DESCRIPTION_COLUMNS
    for row, spec in zip(rows, catalog_specs(14, seed=1), strict=True):
        assert (row["card_id"], row["artwork_group"], row["relation"]) == (spec.card_id, spec.artwork_group, spec.relation)
        assert row["caption"].startswith(row["name"])
        assert row["subject"]


def test_a_catalog_takes_no_number_of_reprints(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "cards"), "--catalog", "--reprints", "3"])
    assert ended.value.code == 64
    assert "not allowed" in capsys.readouterr().err
