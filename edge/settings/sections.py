"""All settings, section by section; ``docs/settings.md`` is generated from this file.

Units are part of the names. The defaults suit a Raspberry Pi with its camera above a table. Sections for the packages ``vision``,
``recognition`` and ``tracking`` convert themselves to the dataclasses of these packages, which do not depend on settings, and take their
defaults from them.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from edge.recognition.decision import AcceptanceThresholds
from edge.schema import Schema
from edge.settings.address import has_login, is_address
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings
from edge.tracking.evidence import EvidencePolicy
from edge.tracking.tracker import TrackPolicy
from edge.vision.locate import LocateSettings

CameraKind = Literal["film", "stream", "v4l2", "stills", "picamera2"]
BackendName = Literal["onnx", "hailo"]
Precision = Literal["auto", "float", "int8"]
ReadNumbers = Literal["auto", "never", "ambiguous", "always"]
LocateMethod = Literal["combined", "network", "classical"]

_LOCATE: Final = LocateSettings()
_TRACK: Final = TrackPolicy()
_EVIDENCE: Final = EvidencePolicy()


class DeviceSection(Schema):
    """Identity of the scanner."""

    id: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9_-]{1,64}$",
        description="Id in topics and events, unique per scanner. If absent: the Pi's serial number, else derived from the machine id.",
    )
    name: str = Field("Card scanner", min_length=1, max_length=64, description="Display name, for example in Home Assistant.")


class CameraSection(Schema):
    """The source of frames."""

    kind: CameraKind = Field(
        "picamera2",
        description="`picamera2`: a Pi camera; `v4l2`: a USB camera; `stream`: RTSP or HTTP; `film`: a video file; `stills`: images.",
    )
    source: str = Field(
        "0",
        min_length=1,
        description="Depending on `kind`: camera number, device (`/dev/video0`), URL, video file, or folder of images.",
    )
    username: str | None = Field(None, min_length=1, max_length=128, description="User name at a network camera. If absent: no login.")
    password_file: Path | None = Field(
        None,
        description="File that contains only the password of `username`; any character may occur in it. If absent: the systemd credential "
        "`camera-password`, if it exists.",
    )
    loop: bool = Field(False, description="Restart videos and stills at their end.")
    width: int = Field(
        1280, ge=160, le=8192, description="Width requested from a camera, in pixels. Videos, streams and stills keep their own."
    )
    height: int = Field(720, ge=120, le=8192, description="Height requested from a camera, in pixels.")
    fps: float = Field(15.0, ge=0.1, le=240, description="Frames per second requested from a camera; also the frame rate of stills.")
    pixel_format: str | None = Field(
        None, pattern=r"^[ -~]{4}$", description="Four-letter pixel format requested from a USB camera, such as MJPG or YUYV."
    )
    seconds_per_still: float = Field(1.0, gt=0, le=3600, description="How long each image of a folder is shown.")
    lens_position_dioptres: float | None = Field(
        None,
        ge=0,
        le=40,
        description="Fixed focus of a Pi camera: 1 / distance in meters. If absent: autofocus. Set it if the distance is fixed.",
    )
    exposure_us: int | None = Field(None, ge=10, le=1_000_000, description="Fixed exposure time of a Pi camera. If absent: automatic.")
    gain: float | None = Field(None, ge=1, le=64, description="Fixed analog gain of a Pi camera. If absent: automatic.")
    open_timeout_s: float = Field(6.0, ge=0.5, le=60, description="How long opening a camera may take.")
    read_timeout_s: float = Field(3.0, ge=0.1, le=30, description="A camera that delivers no frame for this long is closed and reopened.")
    frozen_after_s: float = Field(
        4.0,
        ge=0.5,
        le=120,
        description="A camera that repeats the same frame, bit for bit, for this long is considered frozen. Network cameras may need 15.",
    )

    @model_validator(mode="after")
    def _source_fits(self) -> Self:
        if self.kind != "stream" and is_address(self.source):
            raise ValueError('source is the address of a stream; set kind = "stream"')
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file is set without a username; set username too")
        if self.username is not None and not (self.kind == "stream" and is_address(self.source)):
            raise ValueError('username is set, but source is not the address of a stream; set kind = "stream" or remove username')
        if self.username is not None and has_login(self.source):
            raise ValueError("username is set, and source contains a login too; remove it from source")
        return self


class NetworkSection(Schema):
    """The model and the backend that runs it."""

    backend: BackendName = Field("onnx", description="`onnx`: the CPU. `hailo`: the NPU. There is no fallback from one to the other.")
    model: Path | None = Field(None, description="Folder of the model. If absent: the only one under `hef/`, see below.")
    precision: Precision = Field(
        "auto",
        description="File that the CPU runs. `auto`: 8 bits if the model has such a file and the processor has fast 8-bit products (x86-64 "
        "with AVX2, arm64 with dot products), else `float`. `int8` and `float` force one. Not used on the NPU.",
    )
    threads: int = Field(0, ge=0, le=64, description="CPU threads of the model. 0: one per core.")
    arena: bool = Field(False, description="Keep the memory of the CPU backend between runs: slightly faster, uses more memory.")
    spin: bool = Field(False, description="Let idle threads of the CPU backend spin: faster, but takes CPU time from other programs.")
    graph_optimization: Literal["none", "basic", "extended", "all"] = Field(
        "all", description="Level of graph optimization by ONNX Runtime."
    )


class IndexSection(Schema):
    """The bundles of reference cards."""

    directory: Path = Field(
        Path("/var/lib/cardedge/index"), description="Folder of the device index, with `releases/` and the links `current` and `previous`."
    )
    search: Literal["hnsw", "exact"] = Field(
        "hnsw", description="`hnsw`: graph search, nearest entries rescored exactly. `exact`: compare every entry."
    )
    allow_downgrade: Literal["never", "proven", "always"] = Field(
        "proven",
        description="Which pushed bundles may be older than the newest one so far. `proven`: those that completed a trial on this scanner.",
    )


class PushSection(Schema):
    """Which bundles may be pushed to this scanner over SSH, see docs/updating.md."""

    allowed_signers: Path = Field(
        Path("/etc/cardedge/allowed_signers"),
        description="File of trusted signers, in the format of ssh-keygen(1), ALLOWED SIGNERS. A pushed list of signers replaces it.",
    )
    root_signers: Path | None = Field(
        None,
        description="File of the keys that may sign a list of signers, in the same format; best one key that is kept offline. If absent: "
        "signers whose line permits the namespace `cardedge-signers`.",
    )
    revoked_keys: Path | None = Field(
        None, description="Keys that are not accepted: a key revocation list of ssh-keygen(1), or a public key per line."
    )
    allow_unsigned: bool = Field(False, description="Accept unsigned bundles. A wrong signature is refused even then.")
    min_recall: float = Field(
        0.99, ge=0, le=1, description="Minimum recall@1, compared with exact search, that the manifest of a bundle must state."
    )
    max_bundle_mb: int = Field(2000, ge=1, le=100_000, description="Size limit of a bundle.")
    keep_free_mb: int = Field(200, ge=0, le=100_000, description="Disk space that must remain free after a bundle is stored.")
    counter_quiet_s: float = Field(
        300.0, ge=0, le=3600, description="A pushed bundle is not activated while cards are counted into a list: until this long after it."
    )
    counter_wait_s: float = Field(
        7200.0, ge=0, le=86_400, description="How long a pushed bundle waits for that at most. 0: it does not wait."
    )
    idle_s: float = Field(60.0, ge=1, le=600, description="A client that sends nothing for this long is disconnected.")
    session_s: float = Field(3600.0, ge=10, le=86_400, description="Time limit of one push; an interrupted push can be resumed.")


class LocateSection(Schema):
    """How cards are located in a frame."""

    method: LocateMethod = Field(
        "network",
        description="`network`: a trained network proposes cards. `classical`: edges and corners do; no model is needed. `combined`: both; "
        "the network decides what is a card, edges where exactly it is.",
    )
    model: Path | None = Field(
        None, description="Folder of the locator's model. If absent: the only one under `hef/`. Not used with `classical`."
    )
    backend: BackendName = Field(
        "onnx", description="What runs the locator's network: `onnx`: the CPU; `hailo`: the NPU, which the embedding model may use too."
    )
    still_interval_s: float = Field(
        2.0,
        ge=0,
        le=60,
        description="Time between two searches of a scene in which no pixel changes; a changed frame is searched at once. 0: search every "
        "frame.",
    )
    max_cards: int = Field(_LOCATE.max_cards, ge=1, le=100, description="Maximum number of cards located in one frame.")
    min_height_share: float = Field(
        _LOCATE.min_height_share, ge=0.02, le=1, description="Minimum long side of a card, as a share of the frame's shorter side."
    )
    work_length_px: int = Field(
        _LOCATE.work_length_px,
        ge=160,
        le=4096,
        description="Frames are scaled down to this length before the search: a larger value finds smaller cards but is slower. "
        "Not used with `network`.",
    )
    focal_length_share: float = Field(
        _LOCATE.focal_length_share, ge=0.3, le=5, description="Focal length of the camera in pixels, as a share of the frame's longer side."
    )
    weakest_edge: float = Field(
        _LOCATE.weakest_edge, ge=1, le=255, description="Minimum gray-level gradient of a card's edge. Not used with `network`."
    )

    def settings(self) -> LocateSettings:
        """Return the limits of what is located."""
        return replace(_LOCATE, **self.model_dump(include={field.name for field in fields(LocateSettings)}))


class RecognitionSection(Schema):
    """How a card is recognized."""

    neighbors_k: int = Field(
        16,
        ge=1,
        le=200,
        description="Nearest entries retrieved. Three to twelve of them are compared pixel by pixel, depending on the card.",
    )
    read_numbers: ReadNumbers = Field(
        "auto",
        description="Which identified cards have their collector number read. `ambiguous`: those whose artwork has several printings; "
        "`always`: all; `never`: none. Reading needs the extra `ocr`. `auto`: `ambiguous` if it is installed, else `never`.",
    )


class ThresholdsSection(Schema):
    """Overrides of the thresholds calibrated with the bundle. Omit them unless you have measured better ones."""

    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Minimum cosine similarity; a card below it is unknown. If absent: the bundle's."
    )
    min_verification: float | None = Field(
        None, ge=0, le=1, description="Minimum verification of an identified card. If absent: the bundle's."
    )
    uncertain_verification: float | None = Field(
        None, ge=0, le=1, description="Minimum verification of an uncertain card. If absent: the bundle's."
    )
    min_margin: float | None = Field(
        None, ge=0, le=1, description="Minimum lead in verification over another artwork. If absent: the bundle's."
    )

    def over(self, calibrated: AcceptanceThresholds) -> AcceptanceThresholds:
        """Return the calibrated thresholds, replaced by those that are set here."""
        return replace(calibrated, **self.model_dump(exclude_none=True))


class TrackSection(Schema):
    """How cards are tracked over time. The states are described in ``docs/architecture.md``."""

    min_overlap: float = Field(_TRACK.min_overlap, gt=0, lt=1, description="Minimum overlap of a card's outlines from frame to frame.")
    removed_after_s: float = Field(
        _TRACK.removed_after_s, ge=0.1, le=60, description="A card not found for this long is reported as removed."
    )
    evidence_interval_s: float = Field(
        _TRACK.evidence_interval_s, ge=0, le=10, description="Time between two recognitions of a card that is not decided yet."
    )
    retry_s: float = Field(
        _TRACK.retry_s, ge=0, le=3600, description="Time between two recognitions of a card published as unknown or uncertain."
    )
    recheck_s: float = Field(_TRACK.recheck_s, ge=0, le=3600, description="Time between two recognitions of an identified card.")
    max_requests_per_frame: int = Field(
        _TRACK.max_requests_per_frame, ge=1, le=64, description="Maximum number of cards recognized in one frame."
    )
    confirm_votes: float = Field(
        _EVIDENCE.confirm_votes,
        ge=1,
        le=8,
        description="Lead in votes before an artwork is identified: a barely accepted recognition has one vote, a clear one up to all.",
    )
    settle_s: float = Field(
        _EVIDENCE.settle_s, ge=0, le=10, description="How long a card is observed before it is published as unknown or uncertain."
    )

    def policy(self) -> TrackPolicy:
        """Return the policy of the tracker."""
        evidence = replace(_EVIDENCE, **self.model_dump(include={"confirm_votes", "settle_s"}))
        return replace(_TRACK, evidence=evidence, **self.model_dump(exclude={"confirm_votes", "settle_s"}))


class ImageSection(Schema):
    """The image of the last card on ``image/last``."""

    enabled: bool = Field(False, description="Publish a JPEG of each identified card.")


class HttpSection(Schema):
    """The web page of the scanner, see docs/web.md."""

    enabled: bool = Field(False, description="Serve the web page.")
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=255,
        description="Address to listen on, `0.0.0.0` for all. Any address except loopback requires a token.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on. 0: any free port.")
    names: tuple[str, ...] = Field((), description="Additional host names of the page, besides the machine's own names and addresses.")
    token: str | None = Field(
        None, min_length=16, max_length=512, repr=False, description="Token that clients on other machines must present."
    )
    token_file: Path | None = Field(
        None, description="File that contains only the token. If absent: the systemd credential `http-token`, if it exists."
    )
    max_upload_mb: int = Field(10, ge=1, le=100, description="Size limit of an uploaded image.")
    preview_fps: float = Field(10.0, gt=0, le=60, description="Frame rate limit of the preview.")
    preview_width: int = Field(960, ge=160, le=4096, description="Maximum width of the preview, in pixels.")
    review_dir: Path = Field(
        Path("/var/lib/cardedge/review"), description="Folder for corrections, the lists of the counter, and its export profiles."
    )
    review_max_mb: int = Field(200, ge=1, le=100_000, description="Space for corrections; the oldest are removed beyond it.")
    pictures_max_mb: int = Field(500, ge=1, le=100_000, description="Space for images of counted cards; the oldest are removed beyond it.")

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both set; keep one, best the file")
        return self


class LogSection(Schema):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum severity of logged messages.")


class Settings(Schema):
    """The whole settings file; every section and key is optional."""

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
