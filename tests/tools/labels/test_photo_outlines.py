"""The labels of the photos: the file that ships is plausible, and a wrong file is refused with the field's name."""

import json
from collections import Counter

import numpy as np
import pytest

from edge.errors import DataError
from tools.labels.photo_outlines import DEFAULT_LABELS, KINDS, photos_of, read_photo_labels

CARD = {"corners": [[10, 10], [73, 10], [73, 98], [10, 98]], "kind": "bare", "face": "front", "order_known": True, "exact": True}
PHOTO = {
    "file": "a.jpg",
    "width": 200,
    "height": 100,
    "scene": "desk",
    "composite": False,
    "split": "train",
    "ignore": [[[0, 0], [9, 0], [9, 9]]],
    "cards": [CARD],
}


def labels_file(folder, *photos):
    path = folder / "labels.json"
    path.write_text(json.dumps({"photos": photos}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shipped():
    return read_photo_labels(DEFAULT_LABELS)


def sides_of(card):
    corners = np.array(card.corners)
    return np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)


def test_shipped_outlines_are_shaped_like_cards_in_or_near_their_photo(shipped):
    for photo in shipped:
        size = np.array([photo.width, photo.height])
        for number, card in enumerate(photo.cards):
            corners, sides = np.array(card.corners), sides_of(card)
            ratio = (sides[0] + sides[2]) / (sides[1] + sides[3])
            assert 0.5 < ratio < 1.1, (photo.file, number)
            assert min(sides[0] / sides[2], sides[2] / sides[0], sides[1] / sides[3], sides[3] / sides[1]) > 0.65, (photo.file, number)
            near = (0.05 if card.exact else 0.4) * sides.max()
            assert (corners > -near).all(), (photo.file, number)
            assert (corners < size + near).all(), (photo.file, number)


def test_shipped_splits_are_halves_that_contain_every_kind(shipped):
    held_out, train = photos_of(shipped, "held_out"), photos_of(shipped, "train")
    assert photos_of(shipped, "all") == shipped
    assert (len(held_out), len(train)) == (26, 24)
    for half in (held_out, train):
        assert set(Counter(card.kind for photo in half for card in photo.cards)) == set(KINDS)


def test_every_card_has_a_line_of_its_own():
    lines = DEFAULT_LABELS.read_text(encoding="utf-8").splitlines()
    assert max(line.count('"corners"') for line in lines) == 1
    assert max(map(len, lines)) < 300


def test_label_coordinates_become_frame_coordinates(tmp_path):
    (photo,) = read_photo_labels(labels_file(tmp_path, PHOTO))
    assert photo.cards[0].quad().top_left == (9.5, 9.5)
    assert photo.ignored_regions()[0].tolist() == [[-0.5, -0.5], [8.5, -0.5], [8.5, 8.5]]


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (PHOTO | {"width": 0}, "photos.0.width"),
        (PHOTO | {"file": "../a.jpg"}, "photos.0.file"),
        (PHOTO | {"split": "test"}, "photos.0.split"),
        (PHOTO | {"ignore": [[[0, 0], [9, 9]]]}, "photos.0.ignore.0"),
        (PHOTO | {"colour": "red"}, "photos.0.colour"),
        (PHOTO | {"cards": [CARD, CARD | {"kind": "box"}]}, "photos.0.cards.1.kind"),
        (PHOTO | {"cards": [CARD | {"corners": CARD["corners"][:3]}]}, "photos.0.cards.0.corners"),
        (PHOTO | {"cards": [CARD | {"corners": CARD["corners"][::-1]}]}, "photos.0.cards.0.corners: .*clockwise"),
        ({name: value for name, value in PHOTO.items() if name != "scene"}, "photos.0.scene: Field required"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, photo, says):
    with pytest.raises(DataError, match=says):
        read_photo_labels(labels_file(tmp_path, photo))


def test_a_photo_listed_twice_and_a_divided_scene_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.jpg is listed twice"):
        read_photo_labels(labels_file(tmp_path, PHOTO, PHOTO))
    with pytest.raises(DataError, match="scene 'desk' is in both splits"):
        read_photo_labels(labels_file(tmp_path, PHOTO, PHOTO | {"file": "b.jpg", "split": "held_out"}))


def test_what_is_not_a_label_file_is_refused(tmp_path):
    path = tmp_path / "labels.json"
    with pytest.raises(DataError, match="cannot be read"):
        read_photo_labels(path)
    path.write_text("corners", encoding="utf-8")
    with pytest.raises(DataError, match="Invalid JSON"):
        read_photo_labels(path)
    path.write_text('{"photos": []}', encoding="utf-8")
    with pytest.raises(DataError, match="photos"):
        read_photo_labels(path)
