"""Reading and embedding on Daft: on all cores of this machine, or on a Ray cluster.

Each worker is a process with one ONNX Runtime session of one thread. It processes an image with the same code as the local engine, so both
engines give the same bundle. The workers write their results as Parquet files, one row per image: ``row`` and ``image`` of the card list,
``vector`` (null if the image cannot be used), ``record`` (see ``tools.bundle_build.record``), and ``fault``, ``reason``, ``thumbnail`` of
an image that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import daft
import numpy as np
from daft.io import IOConfig, S3Config

from edge.adapters.onnx import OnnxEmbedder
from edge.errors import DataError, EdgeError
from edge.recognition.model import open_model, self_test
from edge.vision.image_file import MAX_FILE_BYTES
from tools.bundle_build.card_list import ListedImage
from tools.bundle_build.finding import Fault, FindingKind, ImageFinding
from tools.bundle_build.record import from_record, to_record
from tools.bundle_build.stages import EMBED_TIMEOUT_S, Content, Entries, embed_contents
from tools.extras import extra_required

PROJECT: Final = Path(__file__).resolve().parents[2]
BATCH_ROWS: Final = 32
"""Images a worker is given at once; a batch of decoded-from files is a few tens of megabytes."""

CONNECTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class DaftSettings:
    """Where to run: ``workers`` processes, on the Ray cluster at ``ray_address`` or else on this machine.

    ``s3_endpoint`` is the address of an object store other than Amazon's; keys come from the environment (``AWS_ACCESS_KEY_ID`` …).
    """

    workers: int
    ray_address: str | None = None
    s3_endpoint: str | None = None


_ANSWER: Final = daft.DataType.struct(
    {
        "vector": daft.DataType.list(daft.DataType.float32()),
        "record": daft.DataType.binary(),
        "fault": daft.DataType.string(),
        "reason": daft.DataType.string(),
        "thumbnail": daft.DataType.binary(),
    }
)


class ImageEmbedder:
    """What runs in a worker: opened once, then given batches. ``model`` is the network's folder, on every node."""

    def __init__(self, model: str) -> None:
        opened = open_model(Path(model))
        self._embedder = OnnxEmbedder(opened, threads=1, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)
        # a node with another processor or another runtime shows here, not in the bundle
        self_test(self._embedder.submit, opened, kind="onnx")

    @daft.method.batch(return_dtype=_ANSWER, batch_size=BATCH_ROWS, unnest=True)
    def embed(self, name: Any, content: Any) -> list[dict[str, Any]]:
        """Embed a batch: ``name`` and ``content`` are columns of equal length. Returns one result per row, in order."""
        contents = [_content(one, data) for one, data in zip(name.to_pylist(), content.to_pylist(), strict=True)]
        readable = [one for one in contents if isinstance(one, Content)]
        size = self._embedder.info.max_batch
        answers = iter(
            [answer for start in range(0, len(readable), size) for answer in embed_contents(readable[start : start + size], self._embedder)]
        )
        return [_columns(one if isinstance(one, Fault) else next(answers)) for one in contents]


def embed_with_daft(rows: Sequence[ListedImage], images: str, model: Path, out: str, settings: DaftSettings) -> Entries:
    """Read and embed the images of a list, and write the results as Parquet into ``out``, which must be empty.

    ``images`` is a folder, the address of one (``s3://bucket/scans``, ``https://…``, ``file:///…``), or Parquet files with the columns
    ``image`` (as the list names it) and ``content`` (the file's bytes), named by an address that ends in ``.parquet`` or holds ``*``.
    With Ray, ``images`` and ``out`` have to be reachable under the same name on every node. Raises ``DataError``.
    """
    config = _io_config(settings)
    worker = daft.cls(ImageEmbedder, max_concurrency=settings.workers, use_process=True)
    try:
        _choose_runner(settings)
        contents = _with_content(rows, images, config)
        answers = contents.select("row", "image", worker(str(model.resolve())).embed(contents["name"], contents["content"]))
        answers.write_parquet(out, io_config=config)
        return _entries(rows, daft.read_parquet(f"{out.rstrip('/')}/*.parquet", io_config=config), out)
    except EdgeError:
        raise
    except Exception as error:
        raise DataError(f"{images}: Daft could not embed it ({_last_line(error)}); try a few cards without --engine daft") from error


def image_address(images: str, image: str) -> str:
    """Return where an image of the list lies: a path, or an address below an address."""
    if urlsplit(images).scheme in {"", "file"} and "://" not in images:
        return str(Path(images) / image)
    # in an address of the web, # and ? begin other parts and % an escape
    is_web = urlsplit(images).scheme in {"http", "https"}
    return f"{images.rstrip('/')}/{quote(image) if is_web else image}"


def _with_content(rows: Sequence[ListedImage], images: str, config: IOConfig) -> daft.DataFrame:
    """Return the columns ``row``, ``image``, ``name`` (for messages) and ``content`` (null if there is none)."""
    listed = {"row": list(range(len(rows))), "image": [row.image for row in rows]}
    if images.endswith(".parquet") or "*" in images:
        stored = daft.read_parquet(images, io_config=config)
        missing = {"image", "content"} - set(stored.column_names)
        if missing:
            raise DataError(f"{images}: no column {' or '.join(sorted(missing))}; it holds {', '.join(stored.column_names)}")
        joined = daft.from_pydict(listed).join(stored.select("image", "content"), on="image", how="left")
        return joined.with_column("name", joined["image"])
    named = daft.from_pydict({**listed, "name": [image_address(images, row.image) for row in rows]}).into_batches(BATCH_ROWS)
    return named.with_column("content", named["name"].download(max_connections=CONNECTIONS, on_error="null", io_config=config))


def _entries(rows: Sequence[ListedImage], answers: daft.DataFrame, out: str) -> Entries:
    """Return the workers' results in the order of the list."""
    listed, embedded, findings = [], [], []
    expected = iter(enumerate(rows))
    for answer in answers.sort("row").iter_rows():
        number, row = next(expected, (-1, rows[-1]))
        if answer["row"] != number:
            raise DataError(f"{out}: row {number} of the list is missing or double; name an empty folder, or one `image` per Parquet row")
        if answer["record"] is None:
            findings.append(ImageFinding(row, FindingKind(answer["fault"]), answer["reason"], answer["thumbnail"]))
        else:
            listed.append(row)
            embedded.append(from_record(answer["record"]))
    left = next(expected, None)
    if left is not None:
        raise DataError(f"{out}: row {left[0]} of the list is missing; run the build again")
    vectors = np.stack([one.vector for one in embedded]) if embedded else np.empty((0, 0), dtype=np.float32)
    return Entries(tuple(listed), tuple(one.reference for one in embedded), tuple(findings), vectors)


def _content(name: str, data: bytes | None) -> Content | Fault:
    if data is None:
        return Fault(FindingKind.UNREADABLE, f"{name}: cannot be read; check the name and the permissions")
    if len(data) > MAX_FILE_BYTES:
        return Fault(
            FindingKind.UNREADABLE, f"{name}: too large ({len(data) / 1e6:.0f} MB; the limit is {MAX_FILE_BYTES // 10**6}); scale it down"
        )
    return Content(name, data)


def _columns(answer: Any) -> dict[str, Any]:
    if isinstance(answer, Fault):
        return {"vector": None, "record": None, "fault": str(answer.kind), "reason": answer.reason, "thumbnail": answer.thumbnail}
    return {"vector": answer.vector.tolist(), "record": to_record(answer), "fault": None, "reason": None, "thumbnail": None}


def _io_config(settings: DaftSettings) -> IOConfig:
    if settings.s3_endpoint is None:
        return IOConfig()
    plain = settings.s3_endpoint.startswith("http://")
    return IOConfig(s3=S3Config(endpoint_url=settings.s3_endpoint, use_ssl=not plain, force_virtual_addressing=False))


def _choose_runner(settings: DaftSettings) -> None:
    if settings.ray_address is None:
        if daft.get_or_infer_runner_type() != "native":
            daft.set_runner_native()
        return
    with extra_required("a Ray cluster"):
        import ray
    if not ray.is_initialized():
        ray.init(address=settings.ray_address, runtime_env={"env_vars": {"PYTHONPATH": str(PROJECT)}}, log_to_driver=False)
    daft.set_runner_ray(noop_if_initialized=True)


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
