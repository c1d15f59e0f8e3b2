"""Galleries of other pipelines in, ours out: what is read, what is refused, and what a scanner does with it."""

import base64
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.app.index import load_gallery
from edge.bundles.bundle import open_bundle
from edge.cli.main import main as cardedge
from edge.errors import BundleError, DataError, ExitCode, ModelMismatchError
from edge.index import releases
from edge.recognition.embedding import ModelId, l2_normalize
from edge.recognition.vector_bytes import to_bytes
from edge.settings.sections import Settings
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools import export_vectors, import_vectors
from tools.benchmarks.vectors import random_vectors
from tools.vectors.table import Columns, VectorTable, ids_beside, read_vector_table
from tools.vectors.table_writing import table_of, write_vector_table

pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow (.venv/bin/pip install -e '.[vectors]')")
import pyarrow.parquet as pq  # noqa: E402 - after the skip

SUFFIXES = [".npy", ".npz", ".jsonl", ".parquet"]


def table(count=20, dim=12, seed=0):
    ids = tuple(f"c{row // 2}" for row in range(count))
    return VectorTable(
        ids, tuple(f"Name of {one}" for one in ids), tuple(f"art {one}" for one in ids), random_vectors(count, dim, seed=seed), "clip"
    )


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    return request.param


def test_a_table_comes_back_as_it_went(tmp_path, suffix):
    written = table()
    write_vector_table(tmp_path / f"gallery{suffix}", written)
    read = read_vector_table(tmp_path / f"gallery{suffix}")
    assert read.card_ids == written.card_ids
    assert np.array_equal(read.vectors, written.vectors)
    if suffix != ".npy":
        assert (read.names, read.artwork_groups) == (written.names, written.artwork_groups)
    assert read.model_id == ("clip" if suffix in {".npz", ".parquet"} else None)
    assert {path.name for path in tmp_path.iterdir()} <= {f"gallery{suffix}", "gallery.ids.txt"}


IDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ids=st.lists(IDS, min_size=1, max_size=8), dim=st.integers(1, 40), suffix=st.sampled_from(SUFFIXES))
def test_any_ids_and_any_dim_make_the_round_trip(tmp_path_factory, ids, dim, suffix):
    path = tmp_path_factory.mktemp("round") / f"g{suffix}"
    vectors = l2_normalize(np.random.default_rng(dim).standard_normal((len(ids), dim)) + 1e-3)
    write_vector_table(path, VectorTable(tuple(ids), tuple(ids), ("",) * len(ids), vectors))
    read = read_vector_table(path)
    assert read.card_ids == tuple(ids)
    assert np.array_equal(read.vectors, vectors)


@pytest.mark.parametrize("packed", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", ["g.jsonl", "g.parquet"])
def test_packed_vectors_are_unpacked(tmp_path, packed, name):
    written = table()
    write_vector_table(tmp_path / name, written, packed=packed)
    assert np.sum(read_vector_table(tmp_path / name).vectors * written.vectors, axis=1).min() > 0.999


def jsonl(tmp_path, *rows):
    path = tmp_path / "g.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


UNIT = {"card_id": "a", "vector": [0.6, 0.8]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"card_id": "b", "vector": [1.0, 0.0, 0.0]}, "line 2, vector: 3 numbers, the first row has 2"),
        ({"card_id": "b", "vector": [1.0, 1.0]}, "line 2, vector: has length 1.41, expected 1; or pass --normalize"),
        ('{"card_id": "b", "vector": [NaN, 1.0]}', "line 2, vector: holds NaN or infinity; replace it"),
        ('{"card_id": "b", "vector": [1e300, 1.0]}', "line 2, vector: holds NaN or infinity"),
        ({"card_id": "b", "vector": ["1", 0.0]}, "line 2, vector: contains something that is not a number"),
        ({"card_id": "b", "vector": [True, False]}, "line 2, vector: contains something that is not a number"),
        ({"card_id": "b", "vector": None}, "line 2, vector: expected a list of 1 to"),
        ({"card_id": "b", "vector": []}, "line 2, vector: expected a list of 1 to"),
        ({"card_id": "b", "vector": "no base64!"}, "line 2, vector: neither a list of numbers nor base64"),
        (
            {"card_id": "b", "vector": base64.b64encode(to_bytes(np.float32([1, 0, 0]))[:-1]).decode()},
            "line 2, vector: 13 bytes, 14 expected",
        ),
        ({"card_id": "b"}, "line 2: no `vector`; it contains card_id"),
        ({"vector": [1.0, 0.0]}, "line 2: no `card_id`"),
        ({"card_id": "", "vector": [1.0, 0.0]}, "line 2, card_id: expected a text of 1 to 200 characters"),
        ({"card_id": 1.5, "vector": [1.0, 0.0]}, "line 2, card_id: expected a text"),
        ({"card_id": "a", "vector": [1.0, 0.0], "name": "Other"}, "line 2: card a has another name or artwork_group in row 1"),
        ("", "line 2: empty"),
        ("[1]", "line 2: not a JSON object"),
        ("{", "not JSON lines"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_field(tmp_path, row, told):
    path = jsonl(tmp_path, UNIT, row)
    with pytest.raises(DataError) as caught:
        read_vector_table(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


def test_numbers_are_taken_for_ids_and_lengths_are_mended_when_asked(tmp_path):
    read = read_vector_table(jsonl(tmp_path, {"card_id": 7, "vector": [3, 4]}), normalize=True)
    assert read.card_ids == ("7",)
    assert read.vectors.tolist() == [pytest.approx([0.6, 0.8])]
    with pytest.raises(DataError, match="line 1, vector: holds NaN or infinity; replace it"):
        read_vector_table(jsonl(tmp_path, {"card_id": 7, "vector": [0, 0]}), normalize=True)


def test_columns_may_have_other_names(tmp_path):
    columns = Columns(card_id="uid", vector="clip_embedding")
    read = read_vector_table(jsonl(tmp_path, {"uid": "x", "clip_embedding": [1, 0]}), columns=columns)
    assert read.card_ids == ("x",)


def test_numpy_files_that_are_not_a_table_are_refused(tmp_path):
    vectors = random_vectors(3, 4)
    for name, array, told in (
        ("ints.npy", np.ones((3, 4), int), r"int64 \(3, 4\), expected floating-point numbers"),
        ("flat.npy", vectors[0], r"float32 \(4,\), expected"),
        ("objects.npy", np.array([{}], dtype=object), "not a NumPy file"),
        ("few.npy", vectors, "3 vectors, but 2 ids"),
    ):
        np.save(tmp_path / name, array, allow_pickle=True)
        ids_beside(tmp_path / name).write_text("a\nb\n")
        with pytest.raises(DataError, match=told):
            read_vector_table(tmp_path / name)
    np.save(tmp_path / "alone.npy", vectors)
    with pytest.raises(DataError, match=r"alone\.ids\.txt: cannot be read .* write one id per line, or give the file with --ids"):
        read_vector_table(tmp_path / "alone.npy")
    np.savez(tmp_path / "g.npz", ids=["a", "b", "c"], vector=vectors)
    with pytest.raises(DataError, match="no `card_id`; it contains ids, vector; select the field with --id-column"):
        read_vector_table(tmp_path / "g.npz")
    with pytest.raises(DataError, match="unknown file format; supported suffixes are"):
        read_vector_table(tmp_path / "g.csv")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_parquet_lists_of_any_float_are_read(tmp_path, kind):
    vectors = random_vectors(4, 6)
    column = pyarrow.array([row.astype(kind) for row in vectors], pyarrow.list_(getattr(pyarrow, kind)()))
    pq.write_table(pyarrow.table({"card_id": list("abcd"), "vector": column}), tmp_path / "g.parquet")
    read = read_vector_table(tmp_path / "g.parquet")
    assert np.abs(read.vectors - vectors).max() < 1e-3


def test_a_null_in_parquet_is_named(tmp_path):
    column = pyarrow.array([[1.0, 0.0], [None, 1.0]], pyarrow.list_(pyarrow.float32(), 2))
    pq.write_table(pyarrow.table({"card_id": ["a", "b"], "vector": column}), tmp_path / "g.parquet")
    with pytest.raises(DataError, match="row 2, vector: contains something that is not a number"):
        read_vector_table(tmp_path / "g.parquet")
    (tmp_path / "g.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_vector_table(tmp_path / "g.parquet")


@pytest.fixture
def clip(tmp_path):
    """A gallery of another pipeline, as a bundle: 512 numbers from a network of its own."""
    path = tmp_path / "clip.npz"
    write_vector_table(path, table(40, 512))
    assert import_vectors.main([str(path), "--out", str(tmp_path / "clip")]) == ExitCode.OK
    return tmp_path / "clip"


def test_a_foreign_gallery_is_searched_but_never_recognizes(clip, tmp_path, capsys):
    bundle = open_bundle(clip)
    manifest = bundle.manifest
    assert (manifest.model_id, manifest.dim, manifest.entries, manifest.cards) == ("clip", 512, 40, 20)
    assert (manifest.format_version, manifest.artefact, manifest.signature, manifest.preprocessing) == (3, None, None, None)
    capsys.readouterr()
    np.save(tmp_path / "query.npy", bundle.vectors[6].astype(np.float32))
    assert cardedge(["index", "search", "--like", "c3", "--index", str(clip), "--json"]) == ExitCode.OK
    like = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(like) == 6
    assert "c3" not in [one["card_id"] for one in like]
    assert cardedge(["index", "search", "--vector", str(tmp_path / "query.npy"), "--index", str(clip), "--json"]) == ExitCode.OK
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found[0]["card_id"], found[0]["name"]) == ("c3", "Name of c3")
    assert found[0]["similarity"] == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(ModelMismatchError, match="embedded by model clip, but ours is in use"):
        open_bundle(clip, expected_model_id=ModelId("ours"))
    with pytest.raises(BundleError, match="holds imported vectors without signatures and images"):
        open_bundle(clip, expected_model_id=ModelId("clip"))
    with pytest.raises(BundleError, match="no image of card 'c3'"):
        bundle.reference_image("c3")


def test_a_device_does_not_let_a_foreign_gallery_serve(clip, tmp_path):
    ours = tmp_path / "ours"
    write_vectors_bundle(ours, random_vectors(10, 16))
    root = tmp_path / "root"
    serving = releases.activate(root, releases.install(root, ours).bundle_id).bundle_id
    foreign = releases.install(root, clip).bundle_id
    with pytest.raises(BundleError, match="no card can be verified with it"):
        releases.activate(root, foreign)
    assert releases.current_id(root) == serving


@pytest.mark.parametrize(
    "options", [["--vectors", "int8"], ["--vectors", "float32"], ["--pca", "12"], ["--pca", "12", "--vectors", "int8"]]
)
def test_a_foreign_gallery_takes_every_form(tmp_path, capsys, options):
    write_vector_table(tmp_path / "g.parquet", table(40, 64))
    assert import_vectors.main([str(tmp_path / "g.parquet"), "--out", str(tmp_path / "out"), *options]) == ExitCode.OK
    told = capsys.readouterr().out
    assert ("recall@1, @10" in told) == ("--pca" in options)
    bundle = open_bundle(tmp_path / "out")
    vectors = read_vector_table(tmp_path / "g.parquet").vectors
    answers = load_gallery(bundle, Settings()).index.search(vectors, 1)
    assert [answer[0].entry for answer in answers] == list(range(40))


def test_our_gallery_goes_out_and_comes_back(tmp_path, capsys, suffix):
    write_vectors_bundle(tmp_path / "ours", random_vectors(30, 16), card_ids=[f"k{row // 2}" for row in range(30)])
    out = tmp_path / f"out{suffix}"
    assert export_vectors.main([str(tmp_path / "ours"), "--out", str(out), "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"path": str(out), "rows": 30, "dim": 16, "model_id": PROJECTION_MODEL_ID}
    assert import_vectors.main([str(out), "--out", str(tmp_path / "again"), "--model-id", "someone-else"]) == ExitCode.OK
    ours, again = open_bundle(tmp_path / "ours"), open_bundle(tmp_path / "again")
    assert again.manifest.model_id == "someone-else"
    assert again.gallery.entry_card_ids == ours.gallery.entry_card_ids
    assert np.abs(again.vectors.astype(np.float32) - ours.vectors.astype(np.float32)).max() < 1e-3
    assert table_of(again).card_ids == table_of(ours).card_ids


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path, capsys):
    gallery = jsonl(tmp_path, UNIT)
    out = tmp_path / "out"

    def said(tool, *arguments):
        status = tool.main([str(argument) for argument in arguments])
        return status, capsys.readouterr().err

    status, told = said(import_vectors, gallery, "--out", out)
    assert (status, "does not say which network made its vectors; name it with --model-id" in told) == (ExitCode.USAGE, True)
    status, told = said(import_vectors, gallery, "--out", out, "--model-id", "m", "--pca", 5)
    assert (status, "--pca 5: must be less than" in told) == (ExitCode.BAD_DATA, True)
    write_vectors_bundle(tmp_path / "ours", random_vectors(3, 8))
    status, told = said(export_vectors, tmp_path / "ours", "--out", tmp_path / "nowhere" / "g.npz")
    assert (status, "cannot be written" in told) == (ExitCode.BAD_DATA, True)
    status, told = said(export_vectors, tmp_path / "ours", "--out", gallery)
    assert (status, "already exists" in told) == (ExitCode.BAD_DATA, True)
    status, told = said(export_vectors, tmp_path / "ours", "--out", tmp_path / "g.npz", "--packed", "int8")
    assert (status, "--packed is for .jsonl and .parquet" in told) == (ExitCode.BAD_DATA, True)
    assert {path.name for path in tmp_path.iterdir()} == {"g.jsonl", "ours"}
    with pytest.raises(SystemExit) as ended:
        import_vectors.main([str(gallery)])
    assert ended.value.code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[1, 2]", "2 numbers, 16 expected by the model of this bundle"),
        (json.dumps([0.5] * 16).encode(), "has length 2, expected 1; divide it by its length"),
        (json.dumps([float("nan")] * 16).encode(), "holds NaN or infinity"),
        (to_bytes(random_vectors(1, 8)[0]), "dim: 8, expected 16"),
        (b"\x89PNG", "not .npy, a JSON list"),
        (b'{"a": 1}', "not .npy, a JSON list"),
    ],
)
def test_a_query_that_is_no_embedding_is_65(tmp_path, capsys, content, told):
    write_vectors_bundle(tmp_path / "ours", random_vectors(5, 16))
    query = tmp_path / "query"
    query.write_bytes(content)
    assert cardedge(["index", "search", "--vector", str(query), "--index", str(tmp_path / "ours")]) == ExitCode.BAD_DATA
    assert told in capsys.readouterr().err


def test_info_shows_statistics(tmp_path, capsys):
    write_vectors_bundle(tmp_path / "ours", random_vectors(40, 16), artwork_groups=[f"g{row // 2}" for row in range(40)])
    assert cardedge(["index", "info", str(tmp_path / "ours"), "--statistics", "--json"]) == ExitCode.OK
    statistics = json.loads(capsys.readouterr().out)["statistics"]
    assert statistics["within"]["pairs"] == 20
    assert 0 <= statistics["hard_auc"] <= statistics["auc"] <= 1
    assert cardedge(["index", "info", str(tmp_path / "ours"), "--statistics"]) == ExitCode.OK
    assert "hard AUC" in capsys.readouterr().out
