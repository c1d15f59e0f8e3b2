"""Models: the folder under ``hef/``, its ``model.json``, the verification of its files, and the self-test of a backend."""

import hashlib
import json
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import cv2
import numpy as np
from pydantic import AwareDatetime, Field, PositiveInt, ValidationError

from edge.errors import EmbedderError, EmbedderTimeoutError, ModelError
from edge.recognition.embedding import INPUT_SIZE, PREPROCESSING_ID, EmbeddingMatrix, InputBatch, ModelId
from edge.recognition.hef_file import CHIP, HEAD_BYTES, architecture_of
from edge.recognition.model_evidence import ModelEvidence
from edge.schema import Schema

MODEL_FILE: Final = "model.json"
MODEL_FORMAT_VERSION: Final = 1
MODEL_FILE_MAX_BYTES: Final = 1 << 20
MODEL_PLACES: Final = (Path(__file__).resolve().parents[2] / "hef", Path(sys.prefix) / "hef")
"""Directories searched for models: beside the package in a clone, then in the environment of an installed version."""

ArtifactKind: TypeAlias = Literal["onnx", "int8", "hef"]
"""``onnx`` is the reference, for the CPU; ``int8`` an ONNX file of 8-bit weights and activations, for CPUs too; ``hef`` is for an NPU."""
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PlainFileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Name of a file in the folder of the model; cannot refer to another folder."""

Share: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0)]
Cosine: TypeAlias = Annotated[float, Field(ge=-1.0, le=1.0)]

REPEAT_MIN_COSINE: Final = 0.9999
"""Two runs of one input may differ only by rounding. An NPU with the wrong runtime returns different embeddings each time."""

ManifestT = TypeVar("ManifestT", bound=Schema)

Submit: TypeAlias = Callable[[InputBatch], Future[EmbeddingMatrix]]
"""``Embedder.submit``."""


class FileRecord(Schema):
    """A file of the folder with its expected hash and size."""

    file: PlainFileName
    sha256: Sha256
    size_bytes: PositiveInt


class Artifact(FileRecord):
    """File of the model that a backend runs. ``precision`` is the number format of the weights."""

    precision: str
    max_batch: PositiveInt


class NetworkInput(Schema):
    """Input of the network. Mean and standard deviation are applied inside the network."""

    width: PositiveInt
    height: PositiveInt
    layout: Literal["NHWC"] = "NHWC"
    colour_order: Literal["RGB"] = "RGB"
    dtype: Literal["uint8"] = "uint8"
    preprocessing: str


class Golden(Schema):
    """Images with known embeddings. ``embeddings`` is a .npy file, float32 (n, dim), of the trained network in full precision.

    ``min_cosine`` is the minimum cosine that a backend must reach, per kind of artifact: 8 bits may differ more than 16.
    """

    pictures: tuple[FileRecord, ...] = Field(min_length=1)
    embeddings: FileRecord
    min_cosine: dict[ArtifactKind, Cosine]


class TrainingRecord(Schema):
    """How the weights were trained. ``note`` describes in one sentence how far to rely on them; ``cardedge check`` prints it."""

    note: str = Field(min_length=1)
    recipe: str
    known_cards: PositiveInt
    held_out: tuple[str, ...]
    views: PositiveInt
    minutes: float = Field(gt=0.0)
    machine: str
    settings: dict[str, Any]


class MeasuredView(Schema):
    """Figures over ``count`` simulated views of held-out cards; ``accepted`` is the share accepted at 1 % false acceptance, by cosine."""

    view: str
    count: PositiveInt
    top1: Share
    accepted: Share
    median_similarity: Cosine
    unknown_p99_similarity: Cosine


class Measured(Schema):
    """Measured figures of the artifact. ``parity_min_cosine`` is its minimum cosine to the trained network."""

    parity_min_cosine: Cosine
    parity_images: PositiveInt
    gallery_cards: PositiveInt
    views: tuple[MeasuredView, ...]


class ArtifactAgreement(Schema):
    """Agreement of an artifact with the ONNX, over ``count`` rectified cards that were not used in training.

    ``top1`` is the share of them whose nearest card in one gallery is the same for both.
    """

    count: PositiveInt
    mean_cosine: Cosine
    min_cosine: Cosine
    top1: Share


class ModelManifest(Schema):
    """Content of ``model.json``.

    ``agreement`` permits a bundle embedded by one artifact to be queried by another: see ``edge.recognition.pairing``.
    ``evidence`` is the file described in ``edge.recognition.model_evidence``; null in folders exported without it. ``npu`` contains the
    plan and the measurements of the compilation for an NPU, ``coreml`` the package for iOS; their form is not fixed.
    """

    format_version: Literal[1] = MODEL_FORMAT_VERSION
    model_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    name: str = Field(min_length=1)
    architecture: str
    parameters: PositiveInt
    created: AwareDatetime
    input: NetworkInput
    dim: PositiveInt
    artefacts: dict[ArtifactKind, Artifact]
    golden: Golden
    training: TrainingRecord
    measured: Measured
    agreement: dict[ArtifactKind, ArtifactAgreement] = Field(default_factory=dict)
    evidence: FileRecord | None = None
    npu: dict[str, Any] | None = None
    coreml: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A verified folder: when it was opened, every file named in ``manifest`` existed with the right hash, except as ``open_model`` says.

    ``golden_inputs`` is uint8 (n, 224, 224, 3), ``golden_embeddings`` float32 (n, dim). ``evidence`` is None if the folder has none.
    """

    folder: Path
    manifest: ModelManifest
    golden_inputs: InputBatch
    golden_embeddings: EmbeddingMatrix
    evidence: ModelEvidence | None = None

    @property
    def model_id(self) -> ModelId:
        """Hash of the trained weights."""
        return ModelId(self.manifest.model_id)

    def artifact(self, kind: ArtifactKind) -> Artifact:
        """Return the artifact of a backend. Raises ``ModelError``, naming the existing ones, if there is none of this kind."""
        artifact = self.manifest.artefacts.get(kind)
        if artifact is None:
            existing = ", ".join(sorted(self.manifest.artefacts)) or "none"
            raise ModelError(f"{self.folder / MODEL_FILE}: no `{kind}` artifact ({existing} listed); choose another backend")
        return artifact

    def artifact_path(self, kind: ArtifactKind) -> Path:
        """Return the path of the artifact of a backend. Raises ``ModelError`` if there is none."""
        return self.folder / self.artifact(kind).file

    def verify_artifact(self, kind: ArtifactKind) -> None:
        """Raise ``ModelError`` unless the artifact of a backend has the size and hash that the manifest says."""
        artifact = self.artifact(kind)
        check_file(self.folder / artifact.file, sha256=artifact.sha256, size_bytes=artifact.size_bytes)


def find_model(named: Path | None, places: tuple[Path, ...] = MODEL_PLACES) -> Path:
    """Return the folder of the model: ``named`` if given, else the only one in the first of ``places`` that holds any.

    Raises ``ModelError`` if there is none, or if that place holds several.
    """
    option = "--model or network.model in the settings file"
    return named or only_folder(places, "", "models", choose=f"choose one with {option}", provide=f"set its folder with {option}")


def only_folder(places: tuple[Path, ...], schemas: str, kind: str, *, choose: str, provide: str) -> Path:
    """Return the only folder of a kind of model in the first of ``places`` that holds any.

    ``schemas`` is what the key ``schema`` of that kind begins with; empty for models that embed cards, which have no such key.
    ``kind`` is a plural for messages. Raises ``ModelError`` with ``provide`` if there is none, with ``choose`` if there are several.
    """
    for place in places:
        schemas_found = {path.parent: schema_of(path.parent) for path in sorted(place.glob(f"*/{MODEL_FILE}"))}
        found = [folder for folder, schema in schemas_found.items() if (schema.startswith(schemas) if schemas else not schema)]
        if len(found) > 1:
            raise ModelError(f"{place}: contains several {kind} ({', '.join(folder.name for folder in found)}); {choose}")
        if found:
            return found[0]
    raise ModelError(f"no {kind} found (searched {', '.join(map(str, places))}); {provide}")


def schema_of(folder: Path) -> str:
    """Return the key ``schema`` in ``model.json`` of a folder, which other kinds of models have; empty for a model that embeds cards."""
    try:
        raw = read_model_json(folder)
    except ModelError:
        return ""
    return str(raw.get("schema", "")) if isinstance(raw, dict) else ""


def open_model(folder: Path, *, verify_artifacts: bool = True) -> Model:
    """Read ``model.json`` and verify every file it names. Raises ``ModelError`` naming the file and what to do.

    ``verify_artifacts=False`` leaves the artifacts, by far the largest files, to ``Model.verify_artifact`` for the one that will run.
    """
    manifest = read_model_manifest(folder)
    expected = (INPUT_SIZE.width, INPUT_SIZE.height, PREPROCESSING_ID)
    if (manifest.input.width, manifest.input.height, manifest.input.preprocessing) != expected:
        raise ModelError(
            f"{folder / MODEL_FILE}: input {manifest.input.width}x{manifest.input.height} `{manifest.input.preprocessing}` is not what "
            f"this version prepares ({expected[0]}x{expected[1]} `{expected[2]}`); use matching versions of cardedge and model"
        )
    described = [] if manifest.evidence is None else [manifest.evidence]
    artifacts = manifest.artefacts.values() if verify_artifacts else ()
    for record in (*artifacts, *manifest.golden.pictures, manifest.golden.embeddings, *described):
        check_file(folder / record.file, sha256=record.sha256, size_bytes=record.size_bytes)
    if "hef" in manifest.artefacts:
        require_chip(folder / manifest.artefacts["hef"].file)
    images = np.stack([_read_golden(folder / record.file) for record in manifest.golden.pictures])
    golden = read_unit_vectors(folder / manifest.golden.embeddings.file, len(images), manifest.dim)
    evidence = None if manifest.evidence is None else read_evidence(folder / manifest.evidence.file)
    return Model(folder, manifest, images, golden, evidence)


def read_evidence(path: Path) -> ModelEvidence:
    """Return the content of ``evidence.json``. Raises ``ModelError`` if it is malformed."""
    try:
        return ModelEvidence.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the folder of the model again") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise ModelError(f"{path}: {field}: {first['msg']}; write it again with tools.model_evidence") from error


def read_model_json(folder: Path) -> Any:
    """Return the JSON value in ``model.json`` of a folder. Raises ``ModelError``."""
    path = folder / MODEL_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MODEL_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{folder}: no readable {MODEL_FILE} ({error.strerror}); name the folder of a model under hef/") from error
    if len(text) > MODEL_FILE_MAX_BYTES:
        raise ModelError(f"{path}: larger than {MODEL_FILE_MAX_BYTES} bytes, so it does not describe a model; copy the folder again")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error}); copy the folder again") from error


def read_model_manifest(folder: Path) -> ModelManifest:
    """Return the validated content of ``model.json``, without verifying the files it names. Raises ``ModelError``."""
    return read_validated(folder, ModelManifest)


def read_validated(folder: Path, kind: type[ManifestT]) -> ManifestT:
    """Return the ``model.json`` of a folder as a manifest of the given kind. Raises ``ModelError``."""
    path, raw = folder / MODEL_FILE, read_model_json(folder)
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > MODEL_FORMAT_VERSION:
        raise ModelError(f"{path}: format {version} is newer than {MODEL_FORMAT_VERSION}, which this version reads; update cardedge")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise ModelError(f"{path}: {field}: {first['msg']}; export the model again or copy the folder again") from error


def self_test(submit: Submit, model: Model, *, kind: ArtifactKind, timeout_s: float = 30.0) -> float:
    """Embed the golden images with a backend and repeat it; return the minimum cosine to their stored embeddings.

    Raises ``ModelError`` if the embeddings deviate from those of the trained network or if the two runs differ: accelerators can return
    plausible but wrong vectors. An NPU computes with integers, so its two runs must be equal bit by bit; on a CPU one image is repeated.
    Raises ``EmbedderTimeoutError`` if the backend does not answer within ``timeout_s`` per image.
    """
    first = _run_golden(submit, model, model.golden_inputs, timeout_s)
    second = _run_golden(submit, model, model.golden_inputs if kind == "hef" else model.golden_inputs[:1], timeout_s)
    repeat = float(np.min(np.sum(first[: len(second)] * second, axis=1)))
    if repeat < REPEAT_MIN_COSINE or (kind == "hef" and not np.array_equal(first, second)):
        raise ModelError(
            f"{model.artifact_path(kind)}: two runs of one image differ (cosine {repeat:.4f}); check the versions of driver, runtime and "
            "compiler against each other"
        )
    agreement = float(np.min(np.sum(first * model.golden_embeddings, axis=1)))
    bound = model.manifest.golden.min_cosine.get(kind, 1.0)
    if agreement < bound:
        raise ModelError(
            f"{model.artifact_path(kind)}: wrong embedding of a golden image (cosine {agreement:.4f}, at least {bound:.4f} "
            "expected); the artifact does not belong to these weights, or the backend computes incorrectly"
        )
    return agreement


def _run_golden(submit: Submit, model: Model, inputs: InputBatch, timeout_s: float) -> EmbeddingMatrix:
    rows = []
    for index in range(len(inputs)):
        try:
            rows.append(submit(inputs[index : index + 1]).result(timeout_s))
        except EmbedderError:
            raise
        except TimeoutError as error:
            raise EmbedderTimeoutError(f"the embedder did not answer the self-test within {timeout_s:g} s") from error
    embeddings = np.concatenate(rows)
    if embeddings.shape[1] != model.golden_embeddings.shape[1]:
        raise ModelError(f"{model.folder / MODEL_FILE}: dim {model.manifest.dim} is not what the backend returns ({embeddings.shape[1]})")
    return embeddings


def check_file(path: Path, *, sha256: str, size_bytes: int) -> None:
    """Raise ``ModelError`` unless a file has this hash and size."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the folder of the model again") from error
    if size != size_bytes or digest != sha256:
        raise ModelError(f"{path}: not the file {MODEL_FILE} describes ({size} bytes, sha256 {digest[:12]}…); copy the folder again")


def require_chip(path: Path) -> None:
    """Raise ``ModelError`` unless a file is a HEF for the Hailo-8L; one with a header of a later version is left to HailoRT."""
    try:
        with path.open("rb") as file:
            chip = architecture_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); copy the folder of the model again") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if chip not in (None, CHIP):
        raise ModelError(
            f"{path}: compiled for {chip}, not for {CHIP}; compile it with `python -m tools.compile_hef`, or copy the right file"
        )


def _read_golden(path: Path) -> InputBatch:
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_COLOR)
    if decoded is None or decoded.shape != (INPUT_SIZE.height, INPUT_SIZE.width, 3):
        raise ModelError(f"{path}: not an image of {INPUT_SIZE.width}x{INPUT_SIZE.height}; export the model again")
    return np.ascontiguousarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_unit_vectors(path: Path, count: int, dim: int) -> EmbeddingMatrix:
    """Return the stored embeddings of golden inputs, float32 (count, dim). Raises ``ModelError`` for anything else in the file."""
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not an array file ({error}); export the model again") from error
    if stored.shape != (count, dim) or stored.dtype != np.float32 or not np.allclose(np.linalg.norm(stored, axis=1), 1.0, atol=1e-3):
        raise ModelError(f"{path}: not {count} unit vectors of {dim} float32; export the model again")
    return np.asarray(stored, dtype=np.float32)
