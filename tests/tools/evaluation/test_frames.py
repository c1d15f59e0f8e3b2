"""Whole frames for an evaluation: what they show, and what counts as a false outline and a wrong name."""

import numpy as np
import pytest

from edge.recognition.decision import Candidate, Identified, RejectReason, Sighting, Unknown
from edge.recognition.gallery import Card, Gallery
from edge.vision.card import LocatedCard, Quad
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.evaluation import frames
from tools.evaluation.frames import NO_FALSE_OUTLINE, backs, measure_frames, pictures_without_card, scenes
from tools.evaluation.queries import Dataset
from tools.evaluation.recognition import NAMED_RIGHT, NOTHING_NAMED

IDS = ("a", "b")
GALLERY = Gallery({one: Card(one, one, one) for one in IDS}, IDS, np.zeros((2, 4), np.uint8))
STRAY = LocatedCard(Quad.from_array([[5, 5], [30, 5], [30, 40], [5, 40]]), (0, 180), 0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    write_cards(card_specs(2, 5), folder)
    scans = tuple(zip(IDS, sorted(folder.glob("*.png")), strict=False))
    return Dataset(scans, tuple(path for _, path in scans), seed=3, views_per_card=1)


class Recognizer:
    """Names every card as ``name`` says."""

    def __init__(self, name):
        self.name = name
        self.loaded = type("Loaded", (), {"gallery": GALLERY})

    def recognize(self, pixels, located, timeout_s):
        return tuple(self.sighting(card) for card in located)

    def sighting(self, card):
        card_id = self.name(card)
        if card_id is None:
            return Sighting(card, card.quad, Unknown(RejectReason.TOO_FAR, 0.0, ()))
        best = Candidate(card_id, card_id, 0.9, 0.9, 0)
        return Sighting(card, card.quad, Identified(best, 0.3, (card_id,), (best,)))


def rows(dataset, locate, name, **counts):
    measured = measure_frames(dataset, Recognizer(name), locate, **{"scene_count": 0, "picture_count": 0, "back_count": 0} | counts)
    return {row.expected: (row.counted, row.counts.asked) for row in measured}


def test_scenes_hold_up_to_eight_cards_apart_from_each_other(dataset):
    shown = list(scenes(dataset, 6))
    assert {len(frame.cards) for frame in shown} <= set(range(1, 9))
    assert len({len(frame.cards) for frame in shown}) > 2
    for frame in shown:
        assert frame.pixels.shape == (720, 1280, 3)
        corners = np.stack([query.outline.quad.to_array() for query in frame.cards])
        assert (corners >= 0).all()
        assert (corners < (1280, 720)).all()
    assert np.array_equal(shown[0].pixels, next(scenes(dataset, 1)).pixels)


def test_outlines_and_names_in_pictures_without_a_card_are_false(dataset):
    for count in ("picture_count", "back_count"):
        assert rows(dataset, lambda _: (), lambda _: None, **{count: 2}) == {NOTHING_NAMED: (2, 2), NO_FALSE_OUTLINE: (2, 2)}
        assert rows(dataset, lambda _: (STRAY,), lambda _: None, **{count: 2}) == {NOTHING_NAMED: (2, 2), NO_FALSE_OUTLINE: (0, 2)}
        assert rows(dataset, lambda _: (STRAY,), lambda _: "a", **{count: 2})[NOTHING_NAMED] == (0, 2)
    assert len({frame.pixels.tobytes() for frame in pictures_without_card(dataset, 4)}) == 4
    assert not any(frame.cards for frame in backs(dataset, 2))


def test_a_card_is_named_right_where_it_lies_and_a_name_elsewhere_is_wrong(dataset, monkeypatch):
    (frame,) = scenes(dataset, 1)
    true = {query.outline.quad: query.card_id for query in frame.cards}
    located = tuple(query.outline for query in frame.cards)
    monkeypatch.setattr(frames, "scenes", lambda *_: iter([frame]))
    total = len(located)
    right = {NAMED_RIGHT: (total, total), "no wrong name": (1, 1), NO_FALSE_OUTLINE: (1, 1)}
    assert rows(dataset, lambda _: located, lambda card: true[card.quad], scene_count=1) == right
    elsewhere = rows(dataset, lambda _: (*located, STRAY), lambda card: true.get(card.quad, "a"), scene_count=1)
    assert elsewhere == right | {"no wrong name": (0, 1), NO_FALSE_OUTLINE: (0, 1)}
    other = {quad: "b" if card_id == "a" else "a" for quad, card_id in true.items()}
    assert rows(dataset, lambda _: located, lambda card: other[card.quad], scene_count=1)["no wrong name"] == (0, 1)
