"""What a change of the overlay costs, what an interruption leaves, and the conversion of the former format."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.errors import BundleError, ModelMismatchError
from edge.index import overlay
from edge.index.overlay import AddedImage, OverlayWriter
from edge.index.overlay_file import OverlayReader, append_removal, append_rows, read_rows, rows_path, write_rows
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from tests.support.former_overlay import write_former_overlay

DIM = 64
RANDOM = np.random.default_rng(0)


def embed(batch):
    rows = RANDOM.standard_normal((len(batch), DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


WRITER = OverlayWriter("0123456789abcdef", "a" * 64, embed)
PIXELS = RANDOM.integers(0, 255, (352, 252, 3), dtype=np.uint8)


def image(card_id, pixels=PIXELS, **facts):
    return AddedImage(Card(CardId(card_id), f"Name of {card_id}", card_id, **facts), pixels)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "index" / "releases").mkdir(parents=True)
    return tmp_path / "index"


class Written:
    """Bytes and flushes of this process to files while the block runs, and the files of a folder that it changed."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def __enter__(self):
        self.flushes = 0
        self.real = os.fsync
        self.monkeypatch.setattr(os, "fsync", self._fsync)
        self.before = self._bytes()
        return self

    def __exit__(self, *_):
        self.bytes = self._bytes() - self.before
        self.monkeypatch.setattr(os, "fsync", self.real)

    def _fsync(self, descriptor):
        self.flushes += 1
        self.real(descriptor)

    def _bytes(self):
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["wchar"])


def test_one_more_card_costs_the_same_at_1000_cards_as_at_10(root, monkeypatch):
    overlay.add_images(root, [image("first")], WRITER)
    with Written(monkeypatch) as at_10:
        for number in range(5):
            overlay.add_images(root, [image(f"a{number}")], WRITER)
    row = read_rows(root).rows[0]
    append_rows(root, [replace(row, card=image(f"b{number}").card) for number in range(989)])
    with Written(monkeypatch) as at_1000:
        for number in range(5):
            overlay.add_images(root, [image(f"c{number}")], WRITER)
    assert len(overlay.open_overlay(root).vectors) == 1000
    assert at_10.bytes > 5 * PIXELS.size, "the images are counted"
    assert at_1000.bytes <= 1.2 * at_10.bytes
    assert at_1000.flushes == at_10.flushes


def test_removing_costs_a_record_until_most_is_removed(root, monkeypatch):
    flat = np.full_like(PIXELS, 90)
    overlay.add_images(root, [image(f"p{number}", flat) for number in range(40)], WRITER)
    journal = root / "overlay" / "rows.journal"
    full = journal.stat().st_size
    for number in range(19):
        with Written(monkeypatch) as removal:
            overlay.remove_card(root, f"p{number}")
        assert removal.bytes < 200
    overlay.remove_card(root, "p19")
    assert journal.stat().st_size < 0.6 * full
    assert [card.card_id for card in overlay.added_cards(root)] == [f"p{number}" for number in range(20, 40)]
    assert len(list((root / "overlay" / "pictures").iterdir())) == 20


def test_whatever_part_of_the_last_record_is_written_the_cards_before_it_are_there(root):
    for number in range(3):
        overlay.add_images(root, [image(f"p{number}")], WRITER)
    journal = root / "overlay" / "rows.journal"
    whole = journal.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for size in [*range(last, len(whole), 997), len(whole) - 1]:
        journal.write_bytes(whole[:size])
        assert overlay.open_overlay(root).gallery.entry_card_ids == ("p0", "p1")
    journal.write_bytes(whole[:last] + bytes(500))
    overlay.add_images(root, [image("p3")], WRITER)
    opened = overlay.open_overlay(root)
    assert (opened.gallery.entry_card_ids, opened.problem) == (("p0", "p1", "p3"), None)


def test_a_failed_write_leaves_the_overlay_as_it_was(root, monkeypatch):
    overlay.add_images(root, [image("p0")], WRITER)
    before = (overlay.overlay_id(root), sorted((root / "overlay" / "pictures").iterdir()))

    def disk_full(descriptor, data, offset):
        os.pwrite(descriptor, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edge.system.journal._write_at", disk_full)
        with pytest.raises(BundleError, match="No space left on device"):
            overlay.add_images(root, [image("p1")], WRITER)
    assert sorted((root / "overlay" / "pictures").iterdir()) == before[1]
    assert overlay.open_overlay(root).gallery.entry_card_ids == ("p0",)
    overlay.add_images(root, [image("p1")], WRITER)
    assert overlay.open_overlay(root).gallery.entry_card_ids == ("p0", "p1")


def add(root, number):
    row = replace(read_rows(root).rows[0], card=image(f"p{number % 5}").card)
    append_rows(root, [row] * (1 + number % 2))


def rewrite(root, number):
    stored = read_rows(root)
    write_rows(root, stored.model, stored.rows[: 1 + number])


def cut(root, number):
    """Leave half a record, as a power cut does."""
    with rows_path(root).open("ab") as journal:
        journal.write(b"0" * number)


def damage(root, number):
    with rows_path(root).open("ab") as journal:
        journal.write(b"00000000 damaged %d\n" % number)


CHANGES = (add, rewrite, cut, damage, lambda root, number: append_removal(root, f"p{number % 5}"))


@given(changes=st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 9), st.booleans()), max_size=12))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reader_that_goes_on_finds_what_a_new_one_finds(one_card, tmp_path, changes):
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    (root / "overlay" / "pictures").mkdir(parents=True)
    write_rows(root, *one_card)
    reader = OverlayReader()
    for change, number, is_read in changes:
        change(root, number)
        if is_read:
            found, expected = reader.rows(root), read_rows(root)
            assert [row.card for row in found.rows] == [row.card for row in expected.rows]
            assert (found.removed, found.damaged) == (expected.removed, expected.damaged)


@pytest.fixture
def one_card(root):
    """The model and rows of an overlay with one card that no change of the test removes."""
    overlay.add_images(root, [image("first", np.full_like(PIXELS, 90))], WRITER)
    stored = read_rows(root)
    return stored.model, stored.rows


def test_each_change_has_another_id(root):
    ids = [overlay.overlay_id(root)]
    for change in (
        lambda: overlay.add_images(root, [image("p0")], WRITER),
        lambda: overlay.add_images(root, [image("p1")], WRITER),
        lambda: overlay.remove_card(root, "p0"),
        lambda: overlay.refresh(root, WRITER),
        lambda: overlay.remove_all(root),
    ):
        change()
        ids.append(overlay.overlay_id(root))
    assert ids[0] is ids[-1] is None
    assert len(set(ids)) == len(ids) - 1


@pytest.fixture
def former(root):
    images = [image("p0", set="promo", attributes={"signed": "yes"}), image("p1"), image("p0", PIXELS[::-1].copy(), set="promo",
              attributes={"signed": "yes"})]  # fmt: skip
    return write_former_overlay(root, images, WRITER), images


def test_the_former_format_is_used_and_converted_by_the_first_change(root, former, tmp_path):
    generation, images = former
    before = overlay.open_overlay(root)
    assert before.gallery.entry_card_ids == ("p0", "p1", "p0")
    assert overlay.export(root, tmp_path / "before") == 3
    assert generation.is_dir(), "reading changes nothing"
    overlay.add_images(root, [image("p2")], WRITER)
    after = overlay.open_overlay(root)
    assert sorted(path.name for path in (root / "overlay").iterdir()) == ["pictures", "rows.journal"]
    assert after.gallery.entry_card_ids == ("p0", "p1", "p0", "p2")
    assert after.gallery.cards["p0"] == images[0].card
    assert np.array_equal(after.vectors[:3], before.vectors)
    assert np.array_equal(after.gallery.signatures[:3], before.gallery.signatures)
    assert after.reference_image("p1") == before.reference_image("p1")
    assert overlay.export(root, tmp_path / "after") == 4
    for name in ("0000.png", "0001.png", "0002.png"):
        assert (tmp_path / "after" / "pictures" / name).read_bytes() == (tmp_path / "before" / "pictures" / name).read_bytes()


def test_the_former_format_is_refreshed_and_removed(root, former):
    with pytest.raises(ModelMismatchError, match="index refresh"):
        overlay.open_overlay(root, expected_model_id="f" * 16)
    assert overlay.refresh(root, OverlayWriter("f" * 16, "b" * 64, embed)) == 3
    assert overlay.open_overlay(root, expected_model_id="f" * 16).gallery.entry_card_ids == ("p0", "p1", "p0")


def test_a_damaged_former_overlay_is_reported_and_removed(root, former):
    (former[0] / "cards.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BundleError, match=r"the added cards cannot be used; .*index remove --all.*cards\.csv"):
        overlay.open_overlay(root)
    overlay.remove_all(root)
    assert overlay.open_overlay(root) is None
    assert not (root / "overlay").exists()
