"""Models of the locator: the folder, its ``model.json`` and the verification of its files. What runs them is ``edge.vision.detector``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from edge.errors import ModelError
from edge.recognition.model import (
    MODEL_FILE,
    MODEL_PLACES,
    ArtifactKind,
    PlainFileName,
    Sha256,
    Share,
    check_file,
    only_folder,
    read_model_json,
    require_chip,
)
from edge.vision.card import Size
from edge.vision.detector import CloserInfo, DetectorInfo, DetectorThresholds

LOCATOR_SCHEMAS: Final = "cardedge.locator/"
LOCATOR_SCHEMA: Final = f"{LOCATOR_SCHEMAS}1"


class _Part(BaseModel):
    """A part of the manifest; keys that this version does not use are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class LocatorArtifact(_Part):
    """A file that a backend runs. ``outputs`` are the names of its outputs if they are not those of the manifest, in the same order."""

    file: PlainFileName
    sha256: Sha256
    size: PositiveInt
    outputs: tuple[str, str, str, str] | None = None


class LocatorInput(_Part):
    """Input of the network: uint8 NHWC RGB, letterboxed. Mean and scale are applied inside the network."""

    width: PositiveInt
    height: PositiveInt
    color_order: Literal["RGB"]
    dtype: Literal["uint8"]


class LocatorThresholds(_Part):
    """Which proposals count, see ``edge.vision.detector.DetectorThresholds``."""

    score: float = Field(gt=0.0, lt=1.0)
    visible: Share = 0.0
    overlap: float = Field(0.5, gt=0.0, le=1.0)


class CloserArtifact(_Part):
    """A file of the network that looks closer. ``outputs`` are the names of its outputs if they are not those of the manifest."""

    file: PlainFileName
    sha256: Sha256
    size: PositiveInt
    outputs: tuple[str, str] | None = None


class CloserManifest(_Part):
    """The network that looks closer at proposals, see ``edge.vision.corner_crops``. ``outputs`` are the names of corner maps and kinds.

    ``card`` is the least probability of a card.
    """

    outputs: tuple[str, str]
    artifacts: dict[ArtifactKind, CloserArtifact]
    card: float = Field(gt=0.0, lt=1.0)


class LocatorManifest(_Part):
    """Content of ``model.json`` of a locator. ``outputs`` are the names of heat map, corners, order and visible share, in this order."""

    schema_: Literal["cardedge.locator/1"] = Field(alias="schema")
    model_id: str = Field(min_length=8, max_length=64)
    architecture: str
    input: LocatorInput
    stride: PositiveInt
    scale_px: PositiveFloat
    classes: tuple[Literal["face"], Literal["back"]]
    outputs: tuple[str, str, str, str]
    artifacts: dict[ArtifactKind, LocatorArtifact]
    thresholds: LocatorThresholds
    closer: CloserManifest | None = None
    trained_on: Any = None
    figures: Any = None

    @model_validator(mode="after")
    def _cells_fill_the_input(self) -> LocatorManifest:
        if self.input.width % self.stride or self.input.height % self.stride:
            raise ValueError(f"stride {self.stride} does not divide the input's {self.input.width}x{self.input.height}")
        return self


@dataclass(frozen=True, slots=True)
class LocatorModel:
    """A verified folder: when it was opened, every file named in ``manifest`` existed with the right hash."""

    folder: Path
    manifest: LocatorManifest

    def artifact_path(self, kind: ArtifactKind) -> Path:
        """Return the path of the artifact of a backend. Raises ``ModelError``, naming the existing ones, if there is none."""
        return self.folder / self._artifact(kind).file

    def info(self, kind: ArtifactKind, *, max_batch: int, max_crops: int = 1) -> DetectorInfo:
        """Return the description of a detector that runs the artifact of a backend. Raises ``ModelError`` if there is none."""
        manifest = self.manifest
        return DetectorInfo(
            manifest.model_id,
            self._artifact(kind).sha256,
            Size(manifest.input.width, manifest.input.height),
            manifest.stride,
            manifest.scale_px,
            DetectorThresholds(**manifest.thresholds.model_dump()),
            max_batch,
            closer=self.closer_info(kind, max_batch=max_crops),
        )

    def closer_artifact(self, kind: ArtifactKind) -> CloserArtifact | None:
        """Return the artifact of the network that looks closer; None if the model has none for this backend."""
        return self.manifest.closer.artifacts.get(kind) if self.manifest.closer else None

    def closer_info(self, kind: ArtifactKind, *, max_batch: int) -> CloserInfo | None:
        """Return the description of that network; None if the model has none for this backend."""
        closer = self.manifest.closer
        return CloserInfo(max_batch, closer.card) if closer and kind in closer.artifacts else None

    def hef_outputs(self) -> tuple[str, str, str, str]:
        """Return the names of the HEF's outputs: the heads for heat map, corners, order and visible share.

        The compiler renames them, and the last two have the same shape. Raises ``ModelError`` if the manifest does not list them.
        """
        outputs = self._artifact("hef").outputs
        if outputs is None:
            raise ModelError(
                f"{self.folder / MODEL_FILE}: artifacts.hef.outputs: missing; name the outputs of the HEF for "
                f"{', '.join(self.manifest.outputs)}, in this order (`hailortcli parse-hef` lists them)"
            )
        return outputs

    def _artifact(self, kind: ArtifactKind) -> LocatorArtifact:
        artifact = self.manifest.artifacts.get(kind)
        if artifact is None:
            existing = ", ".join(sorted(self.manifest.artifacts)) or "none"
            raise ModelError(
                f"{self.folder / MODEL_FILE}: no `{kind}` artifact ({existing} listed); choose another backend with locate.backend"
            )
        return artifact


def find_locator_model(named: Path | None, places: tuple[Path, ...] = MODEL_PLACES) -> Path:
    """Return the folder of the locator's model: ``named`` if given, else the only one in the first of ``places`` that holds any.

    Raises ``ModelError`` if there is none, or if that place holds several.
    """
    return named or only_folder(
        places,
        LOCATOR_SCHEMAS,
        "models of the locator",
        choose="choose one with locate.model in the settings file",
        provide="copy the folder hef/card-locator of this version there, name it with locate.model, or set "
        'locate.method = "classical" in the settings file',
    )


def open_locator_model(folder: Path) -> LocatorModel:
    """Read ``model.json`` and verify every file it names. Raises ``ModelError`` naming the file or the field and what to do."""
    path, raw = folder / MODEL_FILE, read_model_json(folder)
    schema = str(raw.get("schema", "")) if isinstance(raw, dict) else ""
    if not schema.startswith(LOCATOR_SCHEMAS):
        raise ModelError(f"{path}: not a model of the locator; name the folder of one with locate.model, such as hef/card-locator")
    if schema != LOCATOR_SCHEMA:
        raise ModelError(f"{path}: schema {schema!r} is not {LOCATOR_SCHEMA!r}, which this version reads; update cardedge")
    try:
        manifest = LocatorManifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "content"
        raise ModelError(f"{path}: {field}: {first['msg']}; export the model again or copy the folder again") from error
    closer = manifest.closer.artifacts.items() if manifest.closer else ()
    for kind, artifact in (*manifest.artifacts.items(), *closer):
        check_file(folder / artifact.file, sha256=artifact.sha256, size_bytes=artifact.size)
        if kind == "hef":
            require_chip(folder / artifact.file)
    return LocatorModel(folder, manifest)
