"""The manifest of a bundle: what an index holds, what made it, and how to tell that it is whole."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from edge.bundles.calibration import Calibration, Share
from edge.errors import BundleError
from edge.schema import Schema

FORMAT_VERSION: Final = 2
"""The newest format this version reads. A manifest carries the lowest that can say what it says, so that older devices take it."""

MANIFEST_FILE: Final = "manifest.json"
VECTORS_FILE: Final = "vectors.npy"
GRAPH_FILE: Final = "hnsw.bin"
CARDS_FILE: Final = "cards.sqlite"
COARSE_FILE: Final = "coarse.npy"
PROJECTION_FILE: Final = "projection.npy"

DataFile: TypeAlias = Literal["vectors.npy", "hnsw.bin", "cards.sqlite", "coarse.npy", "projection.npy"]
"""The only names a manifest may list, so that no manifest can point outside its own directory."""

DATA_FILES: Final[tuple[DataFile, ...]] = (VECTORS_FILE, GRAPH_FILE, CARDS_FILE)
"""What every bundle holds; ``Manifest.files`` names all that one holds."""

VectorDtype: TypeAlias = Literal["float16", "float32"]
Proposals: TypeAlias = Literal["graph", "int8"]
"""What names the entries worth an exact comparison: the graph, or a scan over the rows rounded to int8."""

BUNDLE_ID_PATTERN: Final = r"^[0-9a-f]{16}$"
BundleId: TypeAlias = Annotated[str, Field(pattern=BUNDLE_ID_PATTERN)]
"""First 64 bits of a SHA-256 over the manifest without itself and its dates (``created``, the day of calibration).

It names the release's directory."""

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

MANIFEST_MAX_BYTES: Final = 1 << 20


class FileDigest(Schema):
    """What a data file must look like."""

    sha256: Sha256
    size_bytes: NonNegativeInt


class GraphParameters(Schema):
    """HNSW parameters: links per node, and how many candidates are kept open while inserting and while searching."""

    connectivity: PositiveInt = 16
    expansion_add: PositiveInt = 200
    expansion_search: PositiveInt = 64


class MeasuredRecall(Schema):
    """Agreement of the graph search with exact search, measured when building with ``queries`` disturbed entries."""

    queries: PositiveInt
    k: PositiveInt
    at_1: Share
    at_k: Share


class SelfTestQuery(Schema):
    """A search whose answer is known: row ``entry`` of the vectors must find ``nearest`` first."""

    entry: NonNegativeInt
    nearest: str


class ProjectionInfo(Schema):
    """How rows of ``dim`` numbers came from embeddings of ``input_dim``, and the share of their variance that is left."""

    method: Literal["pca"] = "pca"
    input_dim: PositiveInt
    kept_variance: Share


class Manifest(Schema):
    """Contents of ``manifest.json``, see ``index/README.md``.

    ``artefact`` is the sha256 of the network file that embedded the cards. ``preprocessing`` and ``signature`` name the code that
    prepared the network's input and computed the signatures; all three are null for vectors that came from elsewhere. ``recall`` is
    null only for an empty gallery; ``calibration`` is null until someone measured thresholds. ``vectors``, ``proposals`` and
    ``projection`` are left out of the file where they have their defaults.
    """

    format_version: Literal[1, 2] = 1
    bundle_id: BundleId
    created: AwareDatetime
    name: str = Field(min_length=1, max_length=200)
    model_id: str = Field(min_length=1)
    artefact: Sha256 | None
    preprocessing: str | None
    signature: str | None
    dim: PositiveInt
    metric: Literal["cosine"] = "cosine"
    entries: NonNegativeInt
    cards: NonNegativeInt
    artwork_groups: NonNegativeInt
    graph: GraphParameters
    recall: MeasuredRecall | None
    calibration: Calibration | None
    self_test: tuple[SelfTestQuery, ...]
    files: dict[DataFile, FileDigest]
    vectors: VectorDtype = "float16"
    proposals: Proposals = "graph"
    projection: ProjectionInfo | None = None

    @model_validator(mode="after")
    def _every_file(self) -> "Manifest":
        wanted = file_names(self.proposals, projected=self.projection is not None)
        missing, surplus = set(wanted) - set(self.files), set(self.files) - set(wanted)
        if missing:
            raise ValueError(f"files: {', '.join(sorted(missing))} not listed")
        if surplus:
            raise ValueError(f"files: {', '.join(sorted(surplus))} listed, but nothing in the manifest says what for")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return {field: value for field, value in content.items() if field not in _SINCE_FORMAT_2 or value != _SINCE_FORMAT_2[field]}

    @property
    def recognizes(self) -> bool:
        """Whether cards can be recognised with it: vectors from elsewhere have no signatures to verify an answer by."""
        return self.signature is not None

    @property
    def lowest_format(self) -> Literal[1, 2]:
        """The oldest format that knows everything this manifest says."""
        added = any(getattr(self, field) != default for field, default in _SINCE_FORMAT_2.items())
        return 2 if added or None in {self.artefact, self.preprocessing, self.signature} else 1

    def content_id(self) -> BundleId:
        """Return the id this content must carry; the file hashes inside make it cover the data."""
        content = self.model_dump(mode="json", exclude={"bundle_id", "created"})
        if self.calibration and self.calibration.provenance:
            del content["calibration"]["provenance"]["measured"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def sealed(self) -> "Manifest":
        """Return the manifest with the lowest format that can say it and the id of its content."""
        manifest = self.model_copy(update={"format_version": self.lowest_format})
        return manifest.model_copy(update={"bundle_id": manifest.content_id()})

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


UNSEALED: Final[BundleId] = "0" * 16

_SINCE_FORMAT_2: Final[dict[str, object]] = {"vectors": "float16", "proposals": "graph", "projection": None}


def file_names(proposals: Proposals, *, projected: bool) -> tuple[DataFile, ...]:
    """Return the data files a bundle holds."""
    coarse: tuple[DataFile, ...] = (COARSE_FILE,) if proposals == "int8" else ()
    projection: tuple[DataFile, ...] = (PROJECTION_FILE,) if projected else ()
    return (*DATA_FILES, *coarse, *projection)


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a bundle. Raises ``BundleError`` for a missing, malformed, newer or altered one."""
    path = directory / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MANIFEST_MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{directory}: no readable {MANIFEST_FILE} ({error.strerror}); name a bundle's directory") from error
    if len(text) > MANIFEST_MAX_BYTES:
        raise BundleError(f"{path}: larger than {MANIFEST_MAX_BYTES} bytes, so it is no manifest; copy the bundle again")
    return parse_manifest(text, str(path))


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest in ``text``; ``where`` names it in errors."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({error}); copy the bundle again") from error
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(f"{where}: format {version} is newer than {FORMAT_VERSION}, which this version reads; update cardedge")
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"{where}: {field}: {first['msg']}; build or copy the bundle again") from error
    if manifest.format_version < manifest.lowest_format:
        raise BundleError(f"{where}: says it is format {manifest.format_version} but holds what only format 2 has; build the bundle again")
    if manifest.bundle_id != manifest.content_id():
        raise BundleError(f"{where}: bundle_id does not fit the content, so the manifest was altered; copy the bundle again")
    return manifest
