"""Building on Daft: folders, Parquet and object stores in, the same bundle as on one machine out."""

import http.server
import json
import os
import shutil
import threading
from functools import partial

import cv2
import numpy as np
import pytest
from PIL import Image

os.environ["DO_NOT_TRACK"] = "true"  # read by daft when it is imported
daft = pytest.importorskip("daft", reason="building at scale needs daft (.venv/bin/pip install -e '.[daft]')")

import pyarrow as pa  # noqa: E402 - comes with daft
import pyarrow.parquet as pq  # noqa: E402

from edge.bundles.bundle import open_bundle  # noqa: E402
from edge.errors import ExitCode  # noqa: E402
from tests.support.small_scanner import write_projection_model  # noqa: E402
from tools import build_index  # noqa: E402
from tools.bundle_build.daft_engine import image_address  # noqa: E402
from tools.drawing.cards import write_cards  # noqa: E402
from tools.drawing.spec import card_specs  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    # daft's own: raised while it starts its workers and reads its files
    "ignore::DeprecationWarning:daft.*",
    "ignore::ResourceWarning",
)
CARDS = 12
MANY = 1_500
"""Several batches of ``daft_engine.BATCH_ROWS`` for each worker."""


ODD_NAMES = ("with space.png", "Roster #1.png", "50% off.png", "50%25.png", "Who?.png")
"""Names that are something else in an address than in a folder."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder of drawn cards with their list, some with odd names and two of which cannot be used, and a network."""
    folder = tmp_path_factory.mktemp("daft")
    write_projection_model(folder / "tiny")
    write_cards(card_specs(CARDS, seed=5), folder / "cards")
    Image.new("RGB", (252, 352), "red").save(folder / "cards" / "blank.png")
    with (folder / "cards" / "cards.csv").open(encoding="utf-8") as file:
        text = file.read()
    columns, *rows = text.splitlines()
    for row, name in zip(rows, ODD_NAMES, strict=False):
        image = next(field for field in row.split(",") if field.endswith(".png"))
        (folder / "cards" / image).rename(folder / "cards" / name)
        text = text.replace(image, name)
    (folder / "cards" / "cards.csv").write_text(text, encoding="utf-8")
    columns = columns.split(",")
    with (folder / "cards" / "cards.csv").open("a", encoding="utf-8") as file:
        for card_id, image in (("gone", "gone.png"), ("blank", "blank.png")):
            row = {"card_id": card_id, "name": card_id, "image": image}
            file.write(",".join(row.get(column, "") for column in columns) + "\n")
    return folder


def build(world, out, capsys, *options, images=None):
    arguments = ["--images", str(images or world / "cards"), "--cards", str(world / "cards" / "cards.csv"), "--out", str(out)]
    status = build_index.main(
        [*arguments, "--model", str(world / "tiny"), "--name", "same", "--threads", "2", "--json", *map(str, options)]
    )
    printed, said = capsys.readouterr()
    return status, json.loads(printed) if printed else None, said


@pytest.fixture(scope="module")
def local(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    arguments = ["--images", str(world / "cards"), "--cards", str(world / "cards" / "cards.csv"), "--out", str(out), "--no-cache"]
    assert build_index.main([*arguments, "--model", str(world / "tiny"), "--name", "same"]) == ExitCode.OK
    return out


def assert_same(world, built, local, out):
    ours = open_bundle(local)
    assert built["bundle_id"] == ours.manifest.bundle_id
    assert np.array_equal(open_bundle(out).vectors, ours.vectors)
    assert sorted(finding["image"] for finding in built["left_out"]) == ["blank.png", "gone.png"]


def test_a_folder_gives_the_same_bundle_and_parquet_of_its_embeddings(world, local, tmp_path, capsys):
    status, built, _ = build(world, tmp_path / "out", capsys, "--engine", "daft", "--embeddings", tmp_path / "embeddings")
    assert status == ExitCode.OK
    assert_same(world, built, local, tmp_path / "out")
    table = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "embeddings").glob("*.parquet"))]).sort_by("row")
    assert table.column("row").to_pylist() == list(range(CARDS + 2))
    vectors = np.array([row for row in table.column("vector").to_pylist() if row is not None], dtype=np.float32)
    assert np.array_equal(vectors.astype(np.float16), open_bundle(local).vectors)
    assert table.column("fault").to_pylist()[-2:] == ["unreadable", "blank"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "embeddings"}


def test_parquet_with_the_pictures_inside_gives_the_same_bundle(world, local, tmp_path, capsys):
    names = sorted(path.name for path in (world / "cards").iterdir() if path.suffix != ".csv")
    listed = {path.relative_to(world / "cards").as_posix(): path for path in (world / "cards").rglob("*.png")}
    assert names
    for part, some in enumerate((sorted(listed)[:5], sorted(listed)[5:])):
        pq.write_table(
            pa.table({"image": some, "content": [listed[name].read_bytes() for name in some]}), tmp_path / f"part-{part}.parquet"
        )
    status, built, _ = build(world, tmp_path / "out", capsys, "--engine", "daft", images=tmp_path / "*.parquet")
    assert status == ExitCode.OK
    assert_same(world, built, local, tmp_path / "out")


class Store(http.server.SimpleHTTPRequestHandler):
    """Gives objects to whoever asks, as an object store with public reading does: by bucket and key in the path."""

    def send_error(self, code, message=None, explain=None):
        body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
        self.send_response(code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def store(world, tmp_path):
    (tmp_path / "root").mkdir()
    shutil.copytree(world / "cards", tmp_path / "root" / "scans")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Store, directory=str(tmp_path / "root")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_addresses_give_the_same_bundle(world, local, store, kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    images, options = (f"{store}/scans", []) if kind == "http" else ("s3://scans", ["--s3-endpoint", store])
    status, built, _ = build(world, tmp_path / "out", capsys, "--engine", "daft", *options, images=images)
    assert status == ExitCode.OK
    assert_same(world, built, local, tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "image", "address"),
    [
        ("/scans", "a/b.png", "/scans/a/b.png"),
        ("scans", "b.png", "scans/b.png"),
        ("s3://bucket/scans/", "b.png", "s3://bucket/scans/b.png"),
        ("file:///scans", "b.png", "file:///scans/b.png"),
    ],
)
def test_where_a_picture_lies(images, image, address):
    assert image_address(images, image) == address


def test_what_does_not_fit_the_engine_is_said_and_leaves_nothing(world, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.parquet").write_text("")
    for options, status, errors in (
        (["--ray", "auto"], ExitCode.USAGE, "--ray is for --engine daft"),
        (["--engine", "daft", "--ray", "auto"], ExitCode.USAGE, "--ray needs --embeddings"),
        (["--engine", "daft", "--embeddings", tmp_path / "full"], ExitCode.USAGE, "not empty; name another folder"),
        (["--pca", "60"], ExitCode.BAD_DATA, "--pca 60: must be less than the model's 64 dimensions and than the 14 images"),
    ):
        found, printed, said = build(world, tmp_path / "out", capsys, *options)
        assert (found, printed) == (status, None)
        assert errors in said
    found, _, said = build(world, tmp_path / "out", capsys, images="s3://scans")
    assert (found, "need --engine daft" in said) == (ExitCode.USAGE, True)
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    found, _, said = build(world, tmp_path / "out", capsys, "--engine", "daft", images=tmp_path / "other.parquet")
    assert (found, "no column content or image; it holds path" in said) == (ExitCode.BAD_DATA, True)
    assert {path.name for path in tmp_path.iterdir()} == {"full", "other.parquet"}


def draw_many(folder, count):
    """Write ``count`` cards with their list: drawing each takes longer than building it, so a few drawings get patterns of their own."""
    write_cards(card_specs(20, seed=8), folder / "drawn")
    drawn = [np.asarray(Image.open(path).convert("RGB").resize((252, 352)), dtype=np.float32) for path in (folder / "drawn").rglob("*.png")]
    (folder / "cards").mkdir()
    random = np.random.default_rng(0)
    rows = ["card_id,name,image,artwork_group"]
    for number in range(count):
        pattern = cv2.resize(random.integers(0, 256, (11, 8, 3)).astype(np.float32), (252, 352), interpolation=cv2.INTER_NEAREST)
        pixels = (0.5 * drawn[number % len(drawn)] + 0.5 * pattern).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "cards" / f"{number}.jpg", quality=90)
        rows.append(f"c{number},Card {number},{number}.jpg,c{number}")
    (folder / "cards" / "cards.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_many_drawn_cards(tmp_path, capsys):
    """The network is tiny: this is about many files through Daft, not about arithmetic."""
    write_projection_model(tmp_path / "tiny")
    draw_many(tmp_path, MANY)
    status, on_daft, said = build(tmp_path, tmp_path / "daft", capsys, "--engine", "daft", "--min-recall", "0.9")
    assert status == ExitCode.OK, said
    assert on_daft["cards"] == MANY
    status, here, _ = build(tmp_path, tmp_path / "local", capsys, "--no-cache", "--min-recall", "0.9")
    assert status == ExitCode.OK
    assert on_daft["bundle_id"] == here["bundle_id"]
