"""All settings of the device, section by section; ``docs/settings.md`` is generated from this file.

Units are in the names. Defaults fit a Raspberry Pi with its camera above a table. A section of a pure room is turned into that room's
own dataclass here, so that the room knows nothing of settings; its defaults are that dataclass's.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from edge.recognition.decision import AcceptanceThresholds
from edge.schema import Schema
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from edge.tracking.evidence import EvidencePolicy
from edge.tracking.tracker import TrackPolicy
from edge.vision.locate import LocateSettings

CameraKind = Literal["film", "stream", "v4l2", "stills", "picamera2"]
BackendName = Literal["onnx", "hailo"]
ReadNumbers = Literal["auto", "never", "ambiguous", "always"]

_LOCATE: Final = LocateSettings()
_TRACK: Final = TrackPolicy()
_EVIDENCE: Final = EvidencePolicy()


class DeviceSection(Schema):
    """Who this scanner is."""

    id: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9_-]{1,64}$",
        description="Name in topics and events, unique in the house. Absent: the Pi's serial number, else derived from the machine id.",
    )
    name: str = Field("Card scanner", min_length=1, max_length=64, description="What people call it, for example in Home Assistant.")


class CameraSection(Schema):
    """Where the frames come from."""

    kind: CameraKind = Field(
        "picamera2", description="`picamera2`: a Pi camera; `v4l2`: a USB camera; `stream`: RTSP or HTTP; `film` and `stills`: files."
    )
    source: str = Field(
        "0",
        min_length=1,
        description="According to `kind`: camera number, device (`/dev/video0`), address, film file, or folder of pictures.",
    )
    loop: bool = Field(False, description="Begin films and stills again at their end.")
    width: int = Field(1280, ge=160, le=8192, description="Width asked of a camera, pixels. Films, streams and stills keep their own.")
    height: int = Field(720, ge=120, le=8192, description="Height asked of a camera, pixels.")
    fps: float = Field(15.0, ge=0.1, le=240, description="Frames per second asked of a camera, and the pace at which stills are shown.")
    pixel_format: str | None = Field(
        None, pattern=r"^[ -~]{4}$", description="Four-letter code asked of a USB camera, such as MJPG or YUYV."
    )
    seconds_per_still: float = Field(1.0, gt=0, le=3600, description="How long each picture of a folder is shown.")
    lens_position_dioptres: float | None = Field(
        None,
        ge=0,
        le=40,
        description="Fixed focus of a Pi camera: 1 / distance in metres. Absent: autofocus. Fix it when the distance is fixed.",
    )
    exposure_us: int | None = Field(None, ge=10, le=1_000_000, description="Fixed exposure time of a Pi camera. Absent: automatic.")
    gain: float | None = Field(None, ge=1, le=64, description="Fixed analogue gain of a Pi camera. Absent: automatic.")
    open_timeout_s: float = Field(6.0, ge=0.5, le=60, description="How long opening may take.")
    read_timeout_s: float = Field(3.0, ge=0.1, le=30, description="A camera that is silent for longer is closed and opened again.")
    frozen_after_s: float = Field(
        4.0,
        ge=0.5,
        le=120,
        description="A camera that shows the same picture, bit by bit, for longer is frozen. Network cameras may need 15.",
    )


class NetworkSection(Schema):
    """The embedding network and what runs it."""

    backend: BackendName = Field("onnx", description="`onnx`: the CPU. `hailo`: the NPU. Neither stands in for the other.")
    model: Path | None = Field(None, description="Folder of the network. Absent: the only one under `hef/`, see below.")
    threads: int = Field(0, ge=0, le=64, description="CPU threads of the network. 0: one per core.")
    arena: bool = Field(False, description="Keep the CPU backend's memory between runs: slightly faster, more memory.")
    spin: bool = Field(False, description="Idle threads of the network wait busily: faster alone, unfair to everything else.")
    graph_optimization: Literal["none", "basic", "extended", "all"] = Field(
        "all", description="How far the CPU backend rewrites the network."
    )


class IndexSection(Schema):
    """The bundles of reference cards."""

    directory: Path = Field(Path("/var/lib/cardedge/index"), description="Holds `releases/` and the links `current` and `previous`.")
    search: Literal["hnsw", "exact"] = Field(
        "hnsw", description="`hnsw`: graph search with exact re-score. `exact`: every entry is compared."
    )


class PushSection(Schema):
    """What this scanner takes from technicians over SSH, see docs/updating.md."""

    allowed_signers: Path = Field(
        Path("/etc/cardedge/allowed_signers"), description="Whose signatures count, in the format of ssh-keygen(1), ALLOWED SIGNERS."
    )
    allow_unsigned: bool = Field(False, description="Take bundles without a signature. A wrong signature is refused even then.")
    min_recall: float = Field(0.99, ge=0, le=1, description="Least recall@1 against exact search that a bundle's manifest must state.")
    max_bundle_mb: int = Field(2000, ge=1, le=100_000, description="Largest bundle taken.")
    keep_free_mb: int = Field(200, ge=0, le=100_000, description="Disk space that must stay free behind a bundle.")
    idle_s: float = Field(60.0, ge=1, le=600, description="A pusher that is silent for longer is hung up on.")
    session_s: float = Field(3600.0, ge=10, le=86_400, description="Longest push; one that is cut goes on where it ended.")


class LocateSection(Schema):
    """What counts as a card in view."""

    max_cards: int = Field(_LOCATE.max_cards, ge=1, le=100, description="Most cards found in one frame.")
    min_height_share: float = Field(
        _LOCATE.min_height_share, ge=0.02, le=1, description="A card's long side is at least this share of the frame's shorter side."
    )
    work_length_px: int = Field(
        _LOCATE.work_length_px,
        ge=160,
        le=4096,
        description="Cards are searched in a picture shrunk to this length: larger finds smaller cards, slower.",
    )
    focal_length_share: float = Field(
        _LOCATE.focal_length_share, ge=0.3, le=5, description="The camera's focal length as a share of the frame's longer side, in pixels."
    )
    weakest_edge: float = Field(_LOCATE.weakest_edge, ge=1, le=255, description="Least grey-level gradient taken for a card's edge.")

    def settings(self) -> LocateSettings:
        """Return them as the locator takes them."""
        return replace(_LOCATE, **self.model_dump())


class RecognitionSection(Schema):
    """How one card is looked up."""

    neighbors_k: int = Field(
        16, ge=1, le=200, description="Nearest entries asked for; as many are compared pixel by pixel as a picture needs, three to twelve."
    )
    read_numbers: ReadNumbers = Field(
        "auto",
        description="Which identified cards have their collector number read. `ambiguous`: those whose artwork was printed several times; "
        "`always`: all; `never`: none; both readers need the extra `ocr`. `auto`: `ambiguous` where the extra is installed, else `never`.",
    )


class ThresholdsSection(Schema):
    """Overrides of the thresholds calibrated with the bundle. Leave them out unless you measured better ones."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Least cosine of a card that is not called unknown. Absent: the bundle's."
    )
    min_verification: float | None = Field(None, ge=0, le=1, description="Least verification of an identified card. Absent: the bundle's.")
    uncertain_verification: float | None = Field(
        None, ge=0, le=1, description="Least verification of an uncertain card. Absent: the bundle's."
    )
    min_margin: float | None = Field(None, ge=0, le=1, description="Least lead in verification over another artwork. Absent: the bundle's.")

    def over(self, calibrated: AcceptanceThresholds) -> AcceptanceThresholds:
        """Return the bundle's thresholds with the ones set here in their place."""
        return replace(calibrated, **self.model_dump(exclude_none=True))


class TrackSection(Schema):
    """How cards are followed, missed and asked about. ``docs/architecture.md`` tells the states."""

    min_overlap: float = Field(
        _TRACK.min_overlap, gt=0, lt=1, description="Outlines that overlap less from frame to frame are never one card."
    )
    removed_after_s: float = Field(_TRACK.removed_after_s, ge=0.1, le=60, description="A card not seen for this long is gone.")
    evidence_interval_s: float = Field(
        _TRACK.evidence_interval_s, ge=0, le=10, description="Between two pictures of a card that is not settled."
    )
    retry_s: float = Field(_TRACK.retry_s, ge=0, le=3600, description="Between two pictures of a card told unknown or uncertain.")
    recheck_s: float = Field(_TRACK.recheck_s, ge=0, le=3600, description="Between two pictures of an identified card.")
    max_requests_per_frame: int = Field(_TRACK.max_requests_per_frame, ge=1, le=64, description="Most cards recognised from one frame.")
    confirm_votes: float = Field(
        _EVIDENCE.confirm_votes,
        ge=1,
        le=8,
        description="Votes by which one artwork leads before it is named: a picture just accepted has one, a clear one up to all of them.",
    )
    settle_s: float = Field(
        _EVIDENCE.settle_s, ge=0, le=10, description="How long a card is looked at before it is called unknown or uncertain."
    )

    def policy(self) -> TrackPolicy:
        """Return them as the tracker takes them."""
        evidence = replace(_EVIDENCE, **self.model_dump(include={"confirm_votes", "settle_s"}))
        return replace(_TRACK, evidence=evidence, **self.model_dump(exclude={"confirm_votes", "settle_s"}))


class ImageSection(Schema):
    """The picture of the last card on ``image/last``."""

    enabled: bool = Field(False, description="Publish a JPEG of each identified card.")


class HttpSection(Schema):
    """The page the scanner serves, see docs/web.md."""

    enabled: bool = Field(False, description="Serve the page.")
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="Address to listen on, `0.0.0.0` for all. Others than this machine's own need a token.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on. 0: any that is free.")
    names: tuple[str, ...] = Field((), description="Further names the page is reached by, beside the machine's own and addresses.")
    token: str | None = Field(None, min_length=16, max_length=512, repr=False, description="What everybody but this machine must know.")
    token_file: Path | None = Field(
        None, description="File that holds the token alone. Absent: the systemd credential `http-token`, if there is one."
    )
    max_upload_mb: int = Field(10, ge=1, le=100, description="Largest picture taken.")
    preview_fps: float = Field(10.0, gt=0, le=60, description="Most preview pictures per second.")
    preview_width: int = Field(960, ge=160, le=4096, description="Widest preview, pixels.")
    review_dir: Path = Field(Path("/var/lib/cardedge/review"), description="Where corrections and the list of the session are kept.")
    review_max_mb: int = Field(200, ge=1, le=100_000, description="More corrections than this: the oldest are removed.")

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both set; keep one, best the file")
        return self


class LogSection(Schema):
    """What the journal gets."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe message that is written.")


class Settings(Schema):
    """The whole settings file; every section and key may be left out."""

    device: DeviceSection = Field(default_factory=DeviceSection)
    camera: CameraSection = Field(default_factory=CameraSection)
    network: NetworkSection = Field(default_factory=NetworkSection)
    index: IndexSection = Field(default_factory=IndexSection)
    push: PushSection = Field(default_factory=PushSection)
    locate: LocateSection = Field(default_factory=LocateSection)
    recognition: RecognitionSection = Field(default_factory=RecognitionSection)
    thresholds: ThresholdsSection = Field(default_factory=ThresholdsSection)
    track: TrackSection = Field(default_factory=TrackSection)
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    outbox: OutboxSettings = Field(default_factory=OutboxSettings)
    home_assistant: HomeAssistantSettings = Field(default_factory=HomeAssistantSettings)
    image: ImageSection = Field(default_factory=ImageSection)
    http: HttpSection = Field(default_factory=HttpSection)
    log: LogSection = Field(default_factory=LogSection)
