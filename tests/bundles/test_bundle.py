"""A bundle is opened completely or refused with the file at fault."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex, write_graph
from edge.bundles import card_database
from edge.bundles.bundle import open_bundle, run_self_test
from edge.bundles.calibration import Calibration
from edge.bundles.manifest import Manifest, read_manifest
from edge.bundles.writer import BundleContents, set_calibration, write_bundle
from edge.errors import BundleError, DataError, ExitCode, ModelMismatchError
from edge.recognition.decision import AcceptanceThresholds, EvidenceWeights
from edge.recognition.embedding import ModelId, l2_normalize
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import LUMA_BYTES, LUMA_SIGNATURE_ID, SIGNATURE_BYTES, SIGNATURE_ID
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools.benchmarks.vectors import random_vectors

FILES = ["vectors.npy", "links.bin", "cards.sqlite", "signatures.npy", "pictures.bin", "chunks.bin"]
DIM = 16
ENTRIES = 40


@pytest.fixture
def path(tmp_path):
    write_vectors_bundle(tmp_path / "bundle", random_vectors(ENTRIES, DIM), image=b"a jpeg")
    return tmp_path / "bundle"


@pytest.fixture
def former(tmp_path):
    """A bundle whose files are those of earlier formats: signatures and pictures are in the database."""
    write_vectors_bundle(tmp_path / "former", random_vectors(ENTRIES, DIM), image=b"a jpeg", chunks=False)
    return tmp_path / "former"


def edit_manifest(path, change, *, seal=True):
    """Change the JSON of the manifest; with ``seal``, update its id to match."""
    manifest_path = path / "manifest.json"
    raw = json.loads(manifest_path.read_text())
    change(raw)
    if seal:
        raw["bundle_id"] = Manifest.model_validate(raw).content_id()
    manifest_path.write_text(json.dumps(raw))


def put_file(path, name, content):
    """Replace a data file and update its hash in the manifest."""
    (path / name).write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit_manifest(path, lambda raw: raw["files"].update({name: facts}))


def change_database(path, statements):
    """Change the database and update its hash in the manifest."""
    with closing(sqlite3.connect(path / "cards.sqlite")) as database:
        database.executescript(statements)
    put_file(path, "cards.sqlite", (path / "cards.sqlite").read_bytes())


def put_vectors(path, vectors):
    np.save(path / "new.npy", vectors)
    content = (path / "new.npy").read_bytes()
    (path / "new.npy").unlink()
    put_file(path, "vectors.npy", content)


def rich_gallery():
    cards = [
        Card(
            CardId("B1-7"),
            "Élan Vital",
            "art-1",
            set="B1",
            number="7",
            rarity="C",
            language="fr",
            attributes={"price": "1,20 €", "foil": "no"},
        ),
        Card(CardId("B2-9"), "Élan Vital", "art-1", set="B2", number="9"),
        Card(CardId("B1-8"), 'Storm "Quoted" O\'Clock', "art-2", set="B1", number="8"),
        Card(CardId("B1-9"), "森の番人", "art-3"),
    ]
    entries = ("B1-7", "B2-9", "B1-8", "B1-9", "B1-7")
    signatures = np.random.default_rng(3).integers(0, 256, (5, SIGNATURE_BYTES), dtype=np.uint8)
    return Gallery({card.card_id: card for card in cards}, tuple(CardId(entry) for entry in entries), signatures)


def rich_contents(**changes):
    gallery = rich_gallery()
    facts = {
        "name": "rich",
        "model_id": ModelId("m1"),
        "artefact": "ab" * 32,
        "vectors": random_vectors(5, DIM),
        "gallery": gallery,
        "reference_images": [(card_id, f"picture of {card_id}".encode()) for card_id in gallery.cards],
        "created": datetime(2026, 5, 1, 12, 0, tzinfo=UTC),
    }
    return BundleContents(**{**facts, **changes})


@pytest.mark.parametrize("chunks", [True, False])
def test_what_was_written_is_read(tmp_path, chunks):
    contents = rich_contents(chunks=chunks)
    manifest = write_bundle(tmp_path / "rich", contents, write_graph)
    bundle = open_bundle(tmp_path / "rich", expected_model_id=ModelId("m1"))
    assert bundle.manifest == manifest
    assert dict(bundle.gallery.cards) == dict(contents.gallery.cards)
    assert bundle.gallery.entry_card_ids == contents.gallery.entry_card_ids
    stored = slice(None if chunks else LUMA_BYTES)
    assert np.array_equal(bundle.gallery.signatures[:, stored], contents.gallery.signatures[:, stored])
    assert np.allclose(bundle.vectors, contents.vectors, atol=1e-3)
    assert bundle.vectors.dtype == np.float16
    assert not bundle.vectors.flags.writeable
    assert bundle.gallery.printings(CardId("B1-7")) == ("B1-7", "B2-9")
    assert (manifest.entries, manifest.cards, manifest.artwork_groups, manifest.dim) == (5, 4, 3, DIM)


@pytest.mark.parametrize("chunks", [True, False])
def test_a_gallery_without_colors_is_stored_as_earlier_versions_did(tmp_path, chunks):
    """Signatures of luma alone: the former id and length, read back with zeros where the chroma would be."""
    contents = rich_contents(chunks=chunks)
    former = contents.gallery.signatures.copy()
    former[:, LUMA_BYTES:] = 0
    manifest = write_bundle(tmp_path / "former", replace(contents, gallery=replace(contents.gallery, signatures=former)), write_graph)
    assert manifest.signature == LUMA_SIGNATURE_ID
    if chunks:
        assert np.load(tmp_path / "former" / "signatures.npy").shape == (5, LUMA_BYTES)
    else:
        with closing(sqlite3.connect(tmp_path / "former" / "cards.sqlite")) as database:
            assert database.execute("SELECT DISTINCT length(signature) FROM entry").fetchall() == [(LUMA_BYTES,)]
    assert np.array_equal(open_bundle(tmp_path / "former").gallery.signatures, former)
    written = write_bundle(tmp_path / "rich", contents, write_graph)
    assert written.signature == (SIGNATURE_ID if chunks else LUMA_SIGNATURE_ID), "version 0.1.0 knows no other"


@pytest.mark.parametrize("chunks", [True, False])
def test_reference_images_are_read_by_card(tmp_path, chunks):
    write_bundle(tmp_path / "rich", rich_contents(chunks=chunks), write_graph)
    bundle = open_bundle(tmp_path / "rich")
    assert bundle.reference_image(CardId("B1-8")) == b"picture of B1-8"
    with pytest.raises(BundleError, match="no image of card 'nope'"):
        bundle.reference_image(CardId("nope"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("elan", ["B1-7", "B2-9"]),
        ("vit ÉL", ["B1-7", "B2-9"]),
        ("b1", ["B1-7", "B1-8", "B1-9"]),
        ("B1-8", ["B1-8"]),
        ('storm "quo', ["B1-8"]),
        ("O'Clock", ["B1-8"]),
        ("e\u0301lan", ["B1-7", "B2-9"]),
        ("B1-7 \x00", ["B1-7"]),
        ("森", ["B1-9"]),
        ("storm elan", []),
        ("", []),
        ('"*(', []),
        ("NOT AND OR", []),
    ],
)
def test_names_are_found_by_the_prefixes_of_their_words(tmp_path, text, found):
    write_bundle(tmp_path / "rich", rich_contents(), write_graph)
    assert sorted(card.card_id for card in open_bundle(tmp_path / "rich").search_names(text)) == found


def test_the_same_content_gives_the_same_bytes_and_id_at_any_time(tmp_path):
    first = write_bundle(tmp_path / "a", rich_contents(), write_graph)
    second = write_bundle(tmp_path / "b", rich_contents(created=datetime(2027, 1, 1, tzinfo=UTC)), write_graph)
    other = write_bundle(tmp_path / "c", rich_contents(name="another"), write_graph)
    assert first.bundle_id == second.bundle_id != other.bundle_id
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_an_empty_gallery_is_a_bundle(tmp_path):
    write_vectors_bundle(tmp_path / "empty", random_vectors(0, DIM))
    bundle = open_bundle(tmp_path / "empty")
    assert (bundle.manifest.entries, bundle.manifest.recall, bundle.manifest.self_test) == (0, None, ())
    run_self_test(bundle, HnswIndex(bundle).search)


def test_the_self_test_passes_with_both_indexes_and_detects_a_wrong_result(path):
    bundle = open_bundle(path)
    assert len(bundle.manifest.self_test) == 16
    run_self_test(bundle, ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids).search)
    run_self_test(bundle, HnswIndex(bundle).search)
    with pytest.raises(BundleError, match=r"self-test of entry .* found card-"):
        run_self_test(bundle, lambda queries, k: ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids).search(-queries, k))


def test_thresholds_are_the_defaults_until_calibrated(path):
    before = open_bundle(path)
    assert before.manifest.calibration is None
    assert before.thresholds is None
    measured = AcceptanceThresholds(min_similarity=0.41)
    calibration = Calibration(thresholds=measured, source="200 photos, 600 negatives", figures={"false_accept_rate": 0.0})
    set_calibration(path, calibration)
    after = open_bundle(path)
    assert after.thresholds == measured
    assert after.manifest.calibration == calibration
    assert after.manifest.bundle_id != before.manifest.bundle_id


def test_a_calibration_without_a_weight_of_color_is_read_and_keeps_its_id(path):
    """As earlier versions wrote it; the weight is stored only where colors were measured."""
    set_calibration(path, Calibration(thresholds=AcceptanceThresholds(), source="some"))
    weights = json.loads((path / "manifest.json").read_text())["calibration"]["thresholds"]["weights"]
    assert "color" not in weights
    bundle = open_bundle(path)
    assert bundle.thresholds == AcceptanceThresholds()
    assert bundle.manifest.content_id() == bundle.manifest.bundle_id
    measured = AcceptanceThresholds(weights=EvidenceWeights(color=4.5))
    set_calibration(path, Calibration(thresholds=measured, source="some"))
    assert open_bundle(path).thresholds == measured


@pytest.mark.parametrize("change", [lambda raw: raw.pop("min_margin"), lambda raw: raw.update(min_luck=1.0)], ids=["missing", "unknown"])
def test_a_calibration_names_every_threshold_and_no_other(path, change):
    set_calibration(path, Calibration(thresholds=AcceptanceThresholds(), source="some"))
    edit_manifest(path, lambda raw: change(raw["calibration"]["thresholds"]), seal=False)
    with pytest.raises(BundleError, match=r"manifest\.json: calibration\.thresholds: .*calibrate the bundle again"):
        open_bundle(path)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(path, name):
    (path / name).unlink()
    with pytest.raises(BundleError, match=rf"{name.replace('.', '[.]')}.*No such file") as refused:
        open_bundle(path)
    assert refused.value.exit_code == ExitCode.BAD_DATA


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named_even_without_hashing(path, name):
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[:-1])
    with pytest.raises(
        BundleError, match=rf"{name}: {len(content) - 1} bytes, the manifest says {len(content)} \(truncated\?\); copy the bundle again"
    ):
        open_bundle(path, verify_hashes=False)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_named(path, name):
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: its content differs from the manifest"):
        open_bundle(path)


def test_another_model_is_refused_with_both_ids(path):
    with pytest.raises(ModelMismatchError, match=f"embedded by model {PROJECTION_MODEL_ID}, but other is in use; build the bundle again"):
        open_bundle(path, expected_model_id=ModelId("other"))


@pytest.mark.parametrize("field", ["preprocessing", "signature"])
def test_other_preprocessing_or_signatures_are_refused(path, field):
    edit_manifest(path, lambda raw: raw.update({field: "older/0"}))
    with pytest.raises(ModelMismatchError, match=f"its {field} is older/0, this version computes"):
        open_bundle(path)


def test_a_newer_format_is_named_as_such_whatever_else_it_holds(path):
    (path / "manifest.json").write_text(json.dumps({"format_version": 4, "shards": 7}))
    with pytest.raises(BundleError, match=r"manifest\.json: format 4 is newer than 3, which this version reads; update cardedge"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[1, 2]", "manifest"),
        (b"[" * 100_000, "not JSON"),
        (b" " * ((1 << 20) + 1), "larger than"),
        (b'{"format_version": "1"}', "format_version"),
    ],
    ids=["empty", "binary", "list", "nested", "huge", "text version"],
)
def test_a_malformed_manifest_is_refused(path, content, message):
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        open_bundle(path)


def test_an_unknown_field_is_refused(path):
    edit_manifest(path, lambda raw: raw.update(color="red"), seal=False)
    with pytest.raises(BundleError, match=r"manifest\.json: color: Extra inputs"):
        open_bundle(path)


def test_an_edited_manifest_does_not_match_its_id(path):
    edit_manifest(path, lambda raw: raw.update(name="better"), seal=False)
    with pytest.raises(BundleError, match=r"manifest\.json: bundle_id does not match the content"):
        open_bundle(path)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/vectors.npy", "extra.bin"])
def test_a_manifest_cannot_name_other_files(path, name):
    edit_manifest(path, lambda raw: raw["files"].update({name: raw["files"]["links.bin"]}), seal=False)
    with pytest.raises(BundleError, match=r"manifest\.json: files"):
        open_bundle(path)


def test_a_manifest_without_one_of_the_files_is_refused(path):
    edit_manifest(path, lambda raw: raw["files"].pop("links.bin"), seal=False)
    with pytest.raises(BundleError, match=r"files: links\.bin not listed"):
        open_bundle(path)


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_is_refused(path, tmp_path, name):
    (path / name).rename(tmp_path / "elsewhere")
    (path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=f"{name}: not a regular file"):
        open_bundle(path)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(np.nan, "holds NaN or infinity"), (np.inf, "holds NaN or infinity"), (0.5, "has length .*, expected 1")],
    ids=["NaN", "infinite", "long"],
)
def test_a_vector_without_unit_length_is_refused(path, value, shown):
    vectors = np.load(path / "vectors.npy")
    vectors[17] = value
    put_vectors(path, vectors)
    with pytest.raises(BundleError, match=rf"vectors\.npy: entry 17 {shown}; build the bundle again"):
        open_bundle(path)


@pytest.mark.parametrize(
    "vectors",
    [
        random_vectors(ENTRIES, DIM),
        random_vectors(ENTRIES - 1, DIM).astype(np.float16),
        random_vectors(ENTRIES, DIM - 1).astype(np.float16),
        np.asfortranarray(random_vectors(ENTRIES, DIM).astype(np.float16)),
        np.array([{"a": "pickle"}]),
    ],
    ids=["float32", "fewer", "narrower", "fortran", "objects"],
)
def test_vectors_of_another_shape_are_refused(path, vectors):
    put_vectors(path, vectors)
    with pytest.raises(BundleError, match=r"vectors\.npy: (expected float16 \(40, 16\)|not a NumPy array)"):
        open_bundle(path)


def test_a_file_that_is_not_an_array_is_refused(path):
    put_file(path, "vectors.npy", b"not an array")
    with pytest.raises(BundleError, match=r"vectors\.npy: not a NumPy array"):
        open_bundle(path)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM entry WHERE entry = 39", "DELETE FROM card WHERE card = 39", "UPDATE card SET artwork_group = 'one'"],
    ids=["entries", "cards", "groups"],
)
def test_counts_must_agree(path, statement):
    change_database(path, statement)
    with pytest.raises(BundleError, match=r"cards\.sqlite: "):
        open_bundle(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET entry = 99 WHERE entry = 3",
        "UPDATE entry SET card = -1 WHERE entry = 3",
        "DROP TABLE entry",
    ],
)
def test_a_damaged_database_is_refused(path, former, statement):
    for bundle in (path, former):
        change_database(bundle, statement)
        with pytest.raises(BundleError, match=r"cards\.sqlite: "):
            open_bundle(bundle)


@pytest.mark.parametrize("statement", ["UPDATE entry SET signature = x'00'", "UPDATE entry SET signature = 12 WHERE entry = 2"])
def test_a_signature_of_another_length_or_type_is_refused(former, statement):
    change_database(former, statement)
    with pytest.raises(BundleError, match=r"cards\.sqlite: "):
        open_bundle(former)


def test_signatures_of_another_shape_are_refused(path):
    np.save(path / "new.npy", np.load(path / "signatures.npy")[:, :-1])
    put_file(path, "signatures.npy", (path / "new.npy").read_bytes())
    with pytest.raises(BundleError, match=r"signatures\.npy: expected uint8 \(40, 2112\)"):
        open_bundle(path)


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE entry RENAME TO entries; CREATE VIEW entry AS SELECT * FROM entries",
        "CREATE VIEW more AS SELECT * FROM card",
        "CREATE TRIGGER more AFTER INSERT ON card BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE more USING fts5 (name)",
        "CREATE INDEX more ON card (lower(name))",
        "DROP TABLE entry; CREATE TABLE entry (entry INTEGER PRIMARY KEY, card INTEGER AS (entry))",
    ],
    ids=["view", "another-view", "trigger", "virtual-table", "index", "computed-column"],
)
@pytest.mark.parametrize("kind", ["path", "former"])
def test_a_database_that_sqlite_would_compute_with_is_refused(request, kind, statements):
    path = request.getfixturevalue(kind)
    change_database(path, statements)
    with pytest.raises(BundleError, match=r"cards\.sqlite: has .*which no bundle has"):
        open_bundle(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE card SET name = x'00ff' WHERE card = 2",
        "UPDATE card SET attributes = '[1]' WHERE card = 2",
        "UPDATE card SET attributes = '{\"foil\": 1}' WHERE card = 2",
        "UPDATE entry SET card = 'first' WHERE entry = 2",
    ],
)
def test_a_value_of_another_type_is_refused(path, statement):
    change_database(path, statement)
    with pytest.raises(BundleError, match=r"cards\.sqlite: "):
        open_bundle(path)


def test_an_image_of_another_type_is_refused(former):
    change_database(former, "UPDATE picture SET image = 1000")
    bundle = open_bundle(former)
    with pytest.raises(BundleError, match="is no image"):
        bundle.reference_image(next(iter(bundle.gallery.cards)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE card SET picture_bytes = -1 WHERE card = 39", "is no size"),
        ("UPDATE card SET picture_bytes = 'many' WHERE card = 39", "is no size"),
        ("UPDATE card SET picture_bytes = 1 << 40 WHERE card = 39", "is no size"),
        ("UPDATE card SET picture_bytes = 7 WHERE card = 39", "ends within a picture"),
        ("UPDATE card SET picture_bytes = NULL WHERE card = 39", "no image of card"),
        ("UPDATE card SET picture_bytes = 0.5 WHERE card = 3", "is no size"),
    ],
)
def test_a_picture_that_is_not_where_the_database_says_is_refused(path, change, reason):
    change_database(path, change)
    bundle = open_bundle(path)
    with pytest.raises(BundleError, match=reason):
        bundle.reference_image(CardId(f"card-{ENTRIES - 1}"))


def test_the_work_of_reading_a_database_is_limited(path, monkeypatch):
    open_bundle(path)
    monkeypatch.setattr(card_database, "BASE_STEPS", 300 - (path / "cards.sqlite").stat().st_size)
    monkeypatch.setattr(card_database, "_STEPS_PER_TICK", 100)
    with pytest.raises(BundleError, match=r"cards\.sqlite: unreadable \(interrupted\)"):
        open_bundle(path)


def test_a_file_that_is_not_a_database_is_refused(path):
    put_file(path, "cards.sqlite", b"x" * 5000)
    with pytest.raises(BundleError, match=r"cards\.sqlite: unreadable \(file is not a database\)"):
        open_bundle(path)


def test_a_self_test_of_a_missing_entry_is_refused(path):
    edit_manifest(path, lambda raw: raw["self_test"][0].update(entry=ENTRIES))
    with pytest.raises(BundleError, match="self-test query names no entry"):
        open_bundle(path)


def test_a_graph_that_hnswlib_cannot_read_is_refused(path):
    put_file(path, "links.bin", b"no graph" * 1000)
    with pytest.raises(BundleError, match=r"links\.bin: "):
        HnswIndex(open_bundle(path))


def test_a_directory_that_is_not_empty_is_never_overwritten(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="already exists"):
        write_vectors_bundle(tmp_path / "bundle", random_vectors(5, DIM))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "mine.txt").read_text() == "keep"


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    def broken_pictures():
        yield CardId("B1-7"), b"one"
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"cannot be written .No space left"):
        write_bundle(tmp_path / "bundle", rich_contents(reference_images=broken_pictures()), write_graph)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_is_killed_leaves_no_bundle(tmp_path):
    script = f"""
    import os, signal
    from pathlib import Path
    from edge.bundles import writer
    from tests.support.stand_ins import write_vectors_bundle
    from tools.benchmarks.vectors import random_vectors
    writer.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    write_vectors_bundle(Path({str(tmp_path / "bundle")!r}), random_vectors(5, 8))
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "bundle").exists()


def test_rows_are_scaled_to_unit_length_before_they_are_stored(tmp_path):
    write_vectors_bundle(tmp_path / "bundle", 3.0 * random_vectors(5, DIM))
    stored = open_bundle(tmp_path / "bundle").vectors.astype(np.float32)
    assert np.allclose(stored, l2_normalize(stored), atol=1e-3)


def test_an_open_bundle_does_not_change_when_a_link_is_replaced(tmp_path):
    for name in ("a", "b"):
        write_vectors_bundle(tmp_path / name, random_vectors(5, DIM, seed=ord(name)), image=name.encode())
    (tmp_path / "link").symlink_to("a")
    bundle = open_bundle(tmp_path / "link")
    (tmp_path / "link.new").symlink_to("b")
    (tmp_path / "link.new").replace(tmp_path / "link")
    assert bundle.reference_image(CardId("card-0")) == b"a"
    assert read_manifest(tmp_path / "link").bundle_id != bundle.manifest.bundle_id
