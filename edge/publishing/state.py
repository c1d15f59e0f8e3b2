"""Retained states and health: what is true now, for whoever connects later. Part of the MQTT contract, see ``docs/mqtt.md``."""

from typing import Final, Literal

from pydantic import Field, FiniteFloat

from edge.publishing.event import CardEvent, Instant, Payload, WirePoint

CARDS: Final = "state/cards"
LAST_CARD: Final = "state/last_card"
INDEX: Final = "state/index"
MODEL: Final = "state/model"
CONTROLS: Final = "state/controls"
HEALTH: Final = "health"

MAX_STATE_CHARS: Final = 255
"""Home Assistant refuses a longer state, and one refusal can disturb its whole MQTT integration."""


class CardInView(Payload):
    """One card that lies in view now."""

    track_id: str
    status: Literal["identified", "uncertain", "unknown"]
    card_id: str | None
    name: str | None
    set: str | None
    number: str | None
    since: Instant
    quad: tuple[WirePoint, WirePoint, WirePoint, WirePoint]


class CardsState(Payload):
    """``state/cards``: the cards in view now."""

    schema_: Literal["cardedge.cards/1"] = Field("cardedge.cards/1", alias="schema")
    at: Instant
    count: int = Field(ge=0)
    cards: tuple[CardInView, ...]


class LastCardState(Payload):
    """``state/last_card``: the last identified card, flat for Home Assistant. ``name`` has at most 255 characters."""

    schema_: Literal["cardedge.last_card/1"] = Field("cardedge.last_card/1", alias="schema")
    at: Instant
    event_id: str
    track_id: str
    card_id: str
    name: str = Field(max_length=MAX_STATE_CHARS)
    set: str | None
    number: str | None
    similarity: FiniteFloat | None
    margin: FiniteFloat | None
    verification: FiniteFloat | None
    printings: tuple[str, ...]
    index_id: str
    image_id: str | None


class PushNote(Payload):
    """The last attempt to change the bundles over SSH, as the device's audit has it."""

    at: Instant
    action: str = Field(description="`push`, `confirm`, `rollback` or `prune`.")
    result: str = Field(description="`activated`, `unchanged`, `confirmed`, `rolled_back`, `pruned`, `refused` or `cut`.")
    bundle_id: str | None = None
    reason: str | None = Field(None, max_length=MAX_STATE_CHARS)
    principal: str | None = Field(None, description="Who signed the bundle, by the device's list of allowed signers.")
    key: str | None = Field(None, description="Fingerprint of the key it was signed with.")
    technician: str | None = Field(None, description="Whose SSH key came, where the device gave it a name.")


class IndexState(Payload):
    """``state/index``: the bundle in use, the one to go back to, the newest one received, and why the last change failed, if it did."""

    schema_: Literal["cardedge.index/1"] = Field("cardedge.index/1", alias="schema")
    at: Instant
    index_id: str
    name: str
    created: Instant | None
    cards: int = Field(ge=0)
    entries: int = Field(ge=0)
    model_id: str
    previous_id: str | None = None
    latest_id: str | None = Field(None, description="Newest bundle on the device that could be activated; null when it is the active one.")
    changing: bool = Field(False, description="A bundle is being loaded and tested now.")
    progress: int | None = Field(
        None, ge=0, le=100, description="How far that is, per cent; null when nothing is changing or nobody can tell."
    )
    problem: str | None = Field(None, description="Why the last change of the bundle failed, or was taken back; the old one serves on.")
    added: int = Field(0, ge=0, description="Pictures of cards that were added on this device and are searched too.")
    last_push: PushNote | None = Field(None, description="The last attempt to change the bundles over SSH; null when there was none.")


class ModelState(Payload):
    """``state/model``: the network in use."""

    schema_: Literal["cardedge.model/1"] = Field("cardedge.model/1", alias="schema")
    at: Instant
    model_id: str
    name: str
    backend: str
    artefact: str = Field(description="sha256 of the file that runs.")
    dim: int = Field(ge=1)


class ControlsState(Payload):
    """``state/controls``: what can be changed by command while running."""

    schema_: Literal["cardedge.controls/1"] = Field("cardedge.controls/1", alias="schema")
    at: Instant
    enabled: bool = Field(description="False while paused.")
    threshold: FiniteFloat = Field(ge=0, le=1, description="Smallest verification of an identified card.")


class Problem(Payload):
    """Something a person should know. ``part`` is e.g. ``camera``, ``network``, ``index``, ``outbox``, ``temperature``."""

    part: str
    message: str
    since: Instant


class CameraHealth(Payload):
    """The frame source."""

    state: str = Field(description="`running`, `opening`, or what is wrong, e.g. `frozen`.")
    source: str
    width: int | None = None
    height: int | None = None
    fps: FiniteFloat | None = None
    frame_age_s: FiniteFloat | None = None
    reopened: int = 0
    last_error: str | None = None


class NpuHealth(Payload):
    """What the NPU says of itself; null where it does not tell."""

    state: str = Field(description="`absent`, `opening`, `ready`, `failed`, `closed`.")
    reopened: int
    last_error: str | None = None
    temperature_c: float | None = None
    throttling_level: int | None = Field(None, description="Step of the chip's clock reduction by heat, from 0; null while there is none.")
    clock_mhz: float | None = None
    architecture: str | None = None
    firmware: str | None = None
    pcie: str | None = Field(None, description="Generation and width of the link, like `Gen3 x1`.")
    gauges_error: str | None = Field(None, description="Why the newest readings could not be taken.")


class NetworkHealth(Payload):
    """The embedding network (not the local network)."""

    state: str
    backend: str
    model_id: str
    last_error: str | None = None
    npu: NpuHealth | None = Field(None, description="Null on the CPU backend.")


class PublisherHealth(Payload):
    """The connection to the broker and the outbox behind it."""

    state: str = Field(description="`connected`, `connecting`, `waiting`, `refused: …`, `stopped`.")
    connected: bool
    protocol: Literal["5", "3.1.1"] | None
    reconnects: int
    outbox_rows: int
    outbox_bytes: int
    oldest_age_s: FiniteFloat | None = Field(description="Age of the oldest event that waits.")
    dropped: dict[str, int] = Field(description="Events dropped by bound: `rows`, `bytes`, `age`. Counted over the life of the outbox.")
    quarantined: int = Field(description="Events the broker refused. Counted over the life of the outbox.")
    corrupt_databases: int = Field(description="Damaged outbox files that were moved aside.")
    refused_states: int = Field(description="States and pictures that were too large or that the broker refused, since start.")
    refused_commands: int = Field(description="Commands that were malformed, too large, retained or too many, since start.")
    last_error: str | None


class Quantiles(Payload):
    """Median and 95th percentile over the last minutes."""

    p50: FiniteFloat
    p95: FiniteFloat


class HealthState(Payload):
    """``health``: how the scanner is. Sent every 30 s and when ``state`` or ``problems`` change."""

    schema_: Literal["cardedge.health/1"] = Field("cardedge.health/1", alias="schema")
    at: Instant
    device_id: str
    boot_id: str
    state: Literal["starting", "ok", "paused", "problem", "stopping"]
    problems: tuple[Problem, ...]
    uptime_s: FiniteFloat
    camera: CameraHealth
    network: NetworkHealth
    publisher: PublisherHealth
    rates: dict[str, FiniteFloat] = Field(description="Per second: `frames`, `cards`, `events`.")
    latency_ms: dict[str, Quantiles] = Field(description="By stage, e.g. `locate`, `embed`, `capture_to_event`.")
    temperatures_c: dict[str, FiniteFloat]
    drops: dict[str, int] = Field(description="What a bounded hand-over had to drop since start, by place, e.g. `frames`.")
    memory_mb: FiniteFloat | None = None
    versions: dict[str, str]


def last_card(event: CardEvent) -> LastCardState | None:
    """Return the state that an event leaves behind, or ``None`` when it names no card or tells of a removal."""
    if event.type not in ("identified", "corrected") or event.card_id is None:
        return None
    return LastCardState(
        at=event.at,
        event_id=event.event_id,
        track_id=event.track_id,
        card_id=event.card_id,
        name=shorten(event.name or event.card_id),
        set=event.set,
        number=event.number,
        similarity=event.similarity,
        margin=event.margin,
        verification=event.verification,
        printings=event.printings,
        index_id=event.index_id,
        image_id=event.image_id,
    )


def shorten(text: str) -> str:
    """Return a text that fits a Home Assistant state, with an ellipsis where it was cut."""
    return text if len(text) <= MAX_STATE_CHARS else text[: MAX_STATE_CHARS - 1] + "…"
