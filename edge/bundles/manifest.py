"""The manifest of a bundle: its contents, how it was made, and the hashes of its files."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

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

FORMAT_VERSION: Final = 3
"""The newest format this version reads. A manifest has the lowest format that can express it, so that older devices accept it."""

MANIFEST_FILE: Final = "manifest.json"
VECTORS_FILE: Final = "vectors.npy"
GRAPH_FILE: Final = "hnsw.bin"
CARDS_FILE: Final = "cards.sqlite"
COARSE_FILE: Final = "coarse.npy"
PROJECTION_FILE: Final = "projection.npy"
GRAPH_PROJECTION_FILE: Final = "graph_projection.npy"
LINKS_FILE: Final = "links.bin"
SIGNATURES_FILE: Final = "signatures.npy"
PICTURES_FILE: Final = "pictures.bin"
CHUNKS_FILE: Final = "chunks.bin"

DataFile: TypeAlias = Literal[
    "vectors.npy",
    "hnsw.bin",
    "cards.sqlite",
    "coarse.npy",
    "projection.npy",
    "graph_projection.npy",
    "links.bin",
    "signatures.npy",
    "pictures.bin",
    "chunks.bin",
]
"""The only names a manifest may list, so that it cannot refer to files outside the bundle."""

DATA_FILES: Final[tuple[DataFile, ...]] = get_args(DataFile)
"""All of these names; ``Manifest.files`` lists the files of one bundle."""

CHUNK_RECORD_BYTES: Final = 16
"""Size of a record of ``chunks.bin``, see ``edge.bundles.chunks``."""

VectorDtype: TypeAlias = Literal["float16", "float32"]
Proposals: TypeAlias = Literal["graph", "int8"]
"""What selects the entries for an exact comparison: the graph, or a scan over the rows rounded to int8."""

BUNDLE_ID_PATTERN: Final = r"^[0-9a-f]{16}$"
BundleId: TypeAlias = Annotated[str, Field(pattern=BUNDLE_ID_PATTERN)]
"""The first 64 bits of a SHA-256 over the manifest without the id and the dates (``created``, the day of calibration).

What belongs to its distribution (counter, date of expiry) is left out too. It is the name of the release's directory."""

Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

MANIFEST_MAX_BYTES: Final = 1 << 20


class FileDigest(Schema):
    """Hash and size of a data file."""

    sha256: Sha256
    size_bytes: NonNegativeInt


class GraphParameters(Schema):
    """HNSW parameters: links per node, and the sizes of the candidate list while inserting and while searching."""

    connectivity: PositiveInt = 16
    expansion_add: PositiveInt = 200
    expansion_search: PositiveInt = 64


class GraphNodes(Schema):
    """What the nodes of the graph are: one for each of ``count`` different rows, in the order of their first entry, in ``dim`` dimensions.

    Fewer dimensions than the rows have are projections by ``graph_projection.npy``, scaled to unit length.
    """

    count: PositiveInt
    dim: PositiveInt


class MeasuredRecall(Schema):
    """Agreement of the graph search with exact search, measured at build time with ``queries`` perturbed entries.

    An entry that is as near as the best one counts as the best.
    """

    queries: PositiveInt
    k: PositiveInt
    at_1: Share
    at_k: Share


class SelfTestQuery(Schema):
    """A query with a known result: the nearest card to row ``entry`` of the vectors must be ``nearest``."""

    entry: NonNegativeInt
    nearest: str


class ProjectionInfo(Schema):
    """How embeddings of length ``input_dim`` were reduced to rows, and the share of their variance that was kept."""

    method: Literal["pca"] = "pca"
    input_dim: PositiveInt
    kept_variance: Share


class Manifest(Schema):
    """Contents of ``manifest.json``, see ``index/README.md``.

    ``artefact`` is the SHA-256 of the model file that embedded the cards. ``preprocessing`` and ``signature`` name the code that prepared
    the model's input and computed the signatures; all three are null for imported vectors. ``recall`` is null only for an empty gallery,
    ``calibration`` until thresholds were measured. ``chunks`` has the number of chunks of each file in ``chunks.bin``; it is null for a
    bundle whose files are those of earlier formats. ``vectors``, ``proposals``, ``projection``, ``graph_nodes`` and ``chunks`` are omitted
    from the file if they have their default values; that of ``graph_nodes`` is a node for each entry, in the dimensions of the rows. So are
    ``counter`` and ``expires``, with which a bundle is published (``tools.sign_bundle``): a larger counter is a newer bundle, and after
    ``expires`` scanners warn, and go on using it.
    """

    format_version: Literal[1, 2, 3] = 1
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
    graph_nodes: GraphNodes | None = None
    chunks: dict[DataFile, NonNegativeInt] | None = None
    counter: PositiveInt | None = None
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _possible_nodes(self) -> "Manifest":
        nodes = self.graph_nodes
        if nodes and (self.proposals != "graph" or nodes.count > self.entries or nodes.dim > self.dim):
            raise ValueError(f"graph_nodes: {nodes.count} nodes of {nodes.dim} numbers for {self.entries} rows of {self.dim}")
        return self

    @model_validator(mode="after")
    def _every_file(self) -> "Manifest":
        wanted = file_names(
            self.proposals,
            projected=self.projection is not None,
            graph_projected=self.graph_projected,
            chunked=self.chunks is not None,
        )
        missing, surplus = set(wanted) - set(self.files), set(self.files) - set(wanted)
        if missing:
            raise ValueError(f"files: {', '.join(sorted(missing))} not listed")
        if surplus:
            raise ValueError(f"files: {', '.join(sorted(surplus))} listed, but not used by anything in the manifest")
        if self.chunks is not None and set(self.chunks) != set(wanted) - {CHUNKS_FILE}:
            raise ValueError(f"chunks: must list every file but {CHUNKS_FILE}")
        if self.chunks is not None and self.files[CHUNKS_FILE].size_bytes != CHUNK_RECORD_BYTES * sum(self.chunks.values()):
            raise ValueError(f"chunks: {sum(self.chunks.values())} chunks do not fit the size of {CHUNKS_FILE}")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        return {field: value for field, value in content.items() if field not in _ADDED or value != _ADDED[field]}

    @property
    def recognizes(self) -> bool:
        """Whether cards can be recognized with the bundle: imported vectors have no signatures for verification."""
        return self.signature is not None

    @property
    def graph_projected(self) -> bool:
        """Whether the nodes of the graph have fewer dimensions than the rows."""
        return self.graph_nodes is not None and self.graph_nodes.dim < self.dim

    @property
    def lowest_format(self) -> Literal[1, 2, 3]:
        """The oldest format that can express this manifest."""
        if any(getattr(self, field) != default for field, default in _SINCE_FORMAT_3.items()):
            return 3
        added = any(getattr(self, field) != default for field, default in _SINCE_FORMAT_2.items())
        return 2 if added or None in {self.artefact, self.preprocessing, self.signature} else 1

    def content_id(self) -> BundleId:
        """Return the bundle id of this content; it covers the data files through their hashes."""
        content = self.without_distribution().model_dump(mode="json", exclude={"bundle_id", "created"})
        if self.calibration and self.calibration.provenance:
            del content["calibration"]["provenance"]["measured"]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def without_distribution(self) -> "Manifest":
        """Return the manifest of the same bundle, with the same id, without counter and expiry, in the lowest possible format."""
        manifest = self.model_copy(update=_DISTRIBUTION)
        return manifest.model_copy(update={"format_version": manifest.lowest_format}) if self.format_version > 2 else manifest

    def sealed(self) -> "Manifest":
        """Return the manifest with the lowest possible format version and the id of its content."""
        manifest = self.model_copy(update={"format_version": self.lowest_format})
        return manifest.model_copy(update={"bundle_id": manifest.content_id()})

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


UNSEALED: Final[BundleId] = "0" * 16

_SINCE_FORMAT_2: Final[dict[str, object]] = {"vectors": "float16", "proposals": "graph", "projection": None}
_DISTRIBUTION: Final[dict[str, object]] = {"counter": None, "expires": None}
"""Fields of format 3 that say how a bundle is published. They are not part of its content, so the id does not depend on them."""
_SINCE_FORMAT_3: Final[dict[str, object]] = {"graph_nodes": None, "chunks": None, **_DISTRIBUTION}
_ADDED: Final[dict[str, object]] = {**_SINCE_FORMAT_2, **_SINCE_FORMAT_3}
"""Fields that the first format does not have, with their default values."""


def file_names(proposals: Proposals, *, projected: bool, graph_projected: bool, chunked: bool) -> tuple[DataFile, ...]:
    """Return the names of the data files of a bundle, with ``chunks.bin`` last."""
    coarse: tuple[DataFile, ...] = (COARSE_FILE,) if proposals == "int8" else ()
    projection: tuple[DataFile, ...] = (PROJECTION_FILE,) if projected else ()
    graph_projection: tuple[DataFile, ...] = (GRAPH_PROJECTION_FILE,) if graph_projected else ()
    arrays = (*coarse, *projection, *graph_projection)
    if not chunked:
        return (VECTORS_FILE, GRAPH_FILE, CARDS_FILE, *arrays)
    links: tuple[DataFile, ...] = (LINKS_FILE,) if proposals == "graph" else ()
    return (VECTORS_FILE, *links, CARDS_FILE, SIGNATURES_FILE, PICTURES_FILE, *arrays, CHUNKS_FILE)


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a bundle. Raises ``BundleError`` if it is missing, malformed, altered or of a newer format."""
    path = directory / MANIFEST_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MANIFEST_MAX_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{directory}: no readable {MANIFEST_FILE} ({error.strerror}); name a bundle's directory") from error
    if len(text) > MANIFEST_MAX_BYTES:
        raise BundleError(f"{path}: larger than {MANIFEST_MAX_BYTES} bytes, so it is not a manifest; copy the bundle again")
    return parse_manifest(text, str(path))


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest in ``text``; ``where`` names it in errors. Raises ``BundleError`` like ``read_manifest``."""
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
        raise BundleError(
            f"{where}: states format {manifest.format_version} but uses fields of format {manifest.lowest_format}; build the bundle again"
        )
    if manifest.bundle_id != manifest.content_id():
        raise BundleError(f"{where}: bundle_id does not match the content, so the manifest was altered; copy the bundle again")
    return manifest
