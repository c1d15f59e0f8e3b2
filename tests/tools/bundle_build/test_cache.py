"""Embeddings are computed once, and never taken for those of another picture, network or preparation."""

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.bundle import open_bundle
from edge.errors import DataError
from edge.recognition.model import find_model, open_model
from tests.support.paths import ROOT
from tests.support.stand_ins import ProjectionEmbedder
from tools.bundle_build.build import BuildSettings, build_index
from tools.bundle_build.cache import KEPT_DAYS, EmbeddingCache
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.record import from_record, to_record
from tools.bundle_build.stages import Content, embed_contents

TODAY = 739_000


class CountingEmbedder(ProjectionEmbedder):
    """Counts the images it embeds; another ``artifact`` is another network file."""

    def __init__(self, artifact=None):
        super().__init__(max_batch=3)
        self.embedded = 0
        self._artifact = artifact or super().info.artifact_sha256

    @property
    def info(self):
        return replace(super().info, artifact_sha256=self._artifact)

    def submit(self, batch):
        self.embedded += len(batch)
        return one_by_one(super().submit, batch)


def one_by_one(submit, batch):
    """Embed as a network does, whose answer for a picture does not depend on its neighbours: NumPy's products do, in the last bit."""
    future = Future()
    future.set_result(np.concatenate([submit(batch[row : row + 1]).result() for row in range(len(batch))]))
    return future


def draw(path, seed):
    pixels = cv2.resize(
        np.random.default_rng(seed).integers(0, 256, (44, 32, 3), dtype=np.uint8), (252, 352), interpolation=cv2.INTER_NEAREST
    )
    Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(10):
        draw(folder / f"{seed}.png", seed)
    return folder


class Builder:
    """Builds bundles of the first ``count`` pictures, each in a directory of its own."""

    def __init__(self, tmp_path, images):
        self.tmp_path = tmp_path
        self.images = images
        self.built = 0

    def __call__(self, count=10, *, artifact=None, preparation="p", cached=True, threads=2, today=TODAY):
        self.built += 1
        out = self.tmp_path / f"out-{self.built}"
        cards = self.tmp_path / "cards.csv"
        cards.write_text("card_id,name,image\n" + "".join(f"c{number},Card {number},{number}.png\n" for number in range(count)))
        embedder = CountingEmbedder(artifact)
        settings = BuildSettings("test", threads)
        arguments = (read_card_list(cards), self.images, out, embedder, settings)
        if not cached:
            build_index(*arguments, advance=lambda done: None)
            return embedder.embedded, open_bundle(out)
        with EmbeddingCache(self.tmp_path / "cache.sqlite", embedder.info.artifact_sha256, today=today, preparation=preparation) as cache:
            build_index(*arguments, advance=lambda done: None, cache=cache)
            self.damaged = cache.damaged
        return embedder.embedded, open_bundle(out)


@pytest.fixture
def build(tmp_path, images):
    return Builder(tmp_path, images)


def test_only_new_pictures_are_embedded_and_removed_ones_are_gone(build):
    assert build(7)[0] == 7
    embedded, grown = build(10)
    assert (embedded, len(grown.vectors)) == (3, 10)
    embedded, shrunk = build(4)
    assert embedded == 0
    assert shrunk.gallery.entry_card_ids == ("c0", "c1", "c2", "c3")
    assert np.array_equal(shrunk.vectors, grown.vectors[:4])


def test_cache_threads_umask_locale_and_file_times_do_not_change_the_id(build, images, monkeypatch):
    plain = build(cached=False, threads=1)[1].manifest.bundle_id
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    before = os.umask(0o077)
    try:
        filled = build(threads=4)[1].manifest.bundle_id
    finally:
        os.umask(before)
    for number in range(9, -1, -1):
        # the same bytes as another file, made in another order
        shutil.copyfile(images / f"{number}.png", images / "new")
        (images / "new").replace(images / f"{number}.png")
    embedded, again = build(threads=3)
    assert embedded == 0
    assert {plain, filled, again.manifest.bundle_id} == {plain}


def test_other_bytes_under_the_same_name_size_and_time_are_embedded(build, images):
    build()
    path = images / "3.png"
    status = path.stat()
    draw(images / "other.png", 77)
    content = (images / "other.png").read_bytes()
    # PNG ignores what follows its end, so both files can be made equally long
    longest = max(len(content), status.st_size)
    path.write_bytes(content.ljust(longest, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    embedded, bundle = build()
    fresh = build(cached=False)[1]
    assert embedded == 1
    assert bundle.manifest.bundle_id == fresh.manifest.bundle_id


@pytest.mark.parametrize("change", [{"artifact": "1" * 64}, {"preparation": "q"}], ids=["another network", "another preparation"])
def test_another_network_or_preparation_finds_nothing(build, change):
    build()
    assert build(**change)[0] == 10
    assert build()[0] == 0


@pytest.mark.parametrize("column", ["record", "hash"])
def test_a_damaged_record_is_seen_and_embedded_anew(build, tmp_path, column):
    whole = build()[1].manifest.bundle_id
    database = sqlite3.connect(tmp_path / "cache.sqlite")
    key, content = database.execute(f"SELECT key, {column} FROM embedded LIMIT 1").fetchone()  # noqa: S608 one of two names
    damaged = bytes([content[0]]) + bytes([content[1] ^ 1]) + content[2:]
    database.execute(f"UPDATE embedded SET {column} = ? WHERE key = ?", (damaged, key))  # noqa: S608 the same
    database.commit()
    database.close()
    embedded, bundle = build()
    assert (embedded, build.damaged, bundle.manifest.bundle_id) == (1, 1, whole)
    assert (build()[0], build.damaged) == (0, 0)


def test_records_moved_to_another_key_are_not_believed(build, tmp_path):
    build()
    database = sqlite3.connect(tmp_path / "cache.sqlite")
    (one, *_), (other, *_) = database.execute("SELECT key FROM embedded LIMIT 2").fetchall()
    database.execute("UPDATE embedded SET (hash, record) = (SELECT hash, record FROM embedded WHERE key = ?) WHERE key = ?", (one, other))
    database.commit()
    database.close()
    assert build()[0] == 1


def test_a_file_that_is_no_cache_is_named(build, tmp_path):
    (tmp_path / "cache.sqlite").write_bytes(b"certainly no database" * 500)
    with pytest.raises(DataError, match=r"cache\.sqlite: unusable cache .*; remove the file"):
        build()


def test_what_nobody_asks_for_is_forgotten(build):
    build()
    build(2, today=TODAY + KEPT_DAYS)
    build(2, today=TODAY + KEPT_DAYS + 1)
    assert build(3, today=TODAY + KEPT_DAYS + 2)[0] == 1


def test_records_give_back_what_went_in(images):
    content = (images / "1.png").read_bytes()
    (embedded,) = embed_contents([Content("1.png", content)], ProjectionEmbedder())
    again = from_record(to_record(embedded))
    assert np.array_equal(again.vector, embedded.vector)
    assert again.reference.content == embedded.reference.content
    assert again.reference.jpeg == embedded.reference.jpeg
    assert np.array_equal(again.reference.signature, embedded.reference.signature)
    for broken in (b"", to_record(embedded)[:-1], to_record(embedded) + b"x", b"{}\n"):
        with pytest.raises(DataError, match="not the record"):
            from_record(broken)


KILLED = """
import os, signal, sys
from pathlib import Path
from edge.recognition.model import open_model
from edge.recognition.model import find_model
from tests.support.stand_ins import ProjectionEmbedder
from tests.tools.bundle_build.test_cache import one_by_one
from tools.build_index import BuildSettings, build_index
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.cache import EmbeddingCache

class Killed(ProjectionEmbedder):
    batches = 0
    def submit(self, batch):
        Killed.batches += 1
        if Killed.batches == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return one_by_one(super().submit, batch)

folder, embedder = Path(sys.argv[1]), Killed(max_batch=3)
cache = EmbeddingCache(folder / "cache.sqlite", embedder.info.artifact_sha256, today=739000, preparation="p")
settings = BuildSettings("test", 1)
build_index(read_card_list(folder / "cards.csv"), folder / "images", folder / "out", embedder, settings, advance=str, cache=cache)
"""


def test_a_build_that_was_killed_goes_on_where_it_was(build, tmp_path, images):
    whole = build(cached=False)[1].manifest.bundle_id
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, cwd=ROOT)
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    embedded, bundle = build()
    assert 4 <= embedded <= 7
    assert bundle.manifest.bundle_id == whole


@pytest.mark.slow
def test_the_network_answers_alike_however_pictures_are_batched_and_threaded():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    answers = []
    for options, size in (({"threads": 1}, 1), ({"threads": 2}, 5), ({"threads": 1, "workers": 2, "arena": True}, 3)):
        embedder = OnnxEmbedder(open_model(find_model(None)), **options)
        try:
            answers.append(np.concatenate([embedder.submit(pictures[start : start + size]).result(60) for start in range(0, 5, size)]))
        finally:
            embedder.close()
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])
