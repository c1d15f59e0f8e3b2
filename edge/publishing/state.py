"""Retained states and health: the current values, also for clients that connect later. Part of the MQTT contract, see ``docs/mqtt.md``."""

from typing import Final, Literal

from pydantic import Field, FiniteFloat

from edge.publishing.event import CardEvent, Instant, Payload, WirePoint
from edge.schema import replace_surrogates

CARDS: Final = "state/cards"
LAST_CARD: Final = "state/last_card"
INDEX: Final = "state/index"
MODEL: Final = "state/model"
CONTROLS: Final = "state/controls"
HEALTH: Final = "health"

MAX_STATE_CHARS: Final = 255
"""Home Assistant's limit for a state; a longer one can break its whole MQTT integration."""


class CardInView(Payload):
    """One card that is in view now."""

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
    """``state/last_card``: the last identified card, without nesting, for Home Assistant. ``name`` has at most 255 characters."""

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
    """The last attempt to change the bundles over SSH, from the device's audit log."""

    at: Instant
    action: str = Field(description="`push`, `confirm`, `rollback`, `reject`, `prune` or `signers`.")
    result: str = Field(
        description="`activated`, `unchanged`, `confirmed`, `rolled_back`, `rejected`, `pruned`, `installed`, `waiting`, `refused` or "
        "`cut`."
    )
    bundle_id: str | None = None
    reason: str | None = Field(None, max_length=MAX_STATE_CHARS)
    principal: str | None = Field(None, description="Signer of the bundle, from the device's list of allowed signers.")
    key: str | None = Field(None, description="Fingerprint of the signing key.")
    technician: str | None = Field(None, description="Name that the device has for the SSH key used; null if it has none.")


class IndexState(Payload):
    """``state/index``: the active bundle, the rollback target, the newest bundle, and why the last change failed."""

    schema_: Literal["cardedge.index/1"] = Field("cardedge.index/1", alias="schema")
    at: Instant
    index_id: str
    name: str
    created: Instant | None
    cards: int = Field(ge=0)
    entries: int = Field(ge=0)
    model_id: str
    previous_id: str | None = None
    latest_id: str | None = Field(None, description="Newest bundle on the device; null if it is the active one.")
    confirm_by: Instant | None = Field(
        None, description="When the active bundle is rolled back unless it is confirmed; null if it needs no confirmation."
    )
    changing: bool = Field(False, description="A bundle is being loaded and tested.")
    progress: int | None = Field(
        None, ge=0, le=100, description="Progress of the change in percent; null if there is no change or its progress is not known."
    )
    problem: str | None = Field(
        None,
        description="Why the last change of the bundle failed or was rolled back (the previous one is active), or why the active one "
        "should be replaced: it has expired, or the key that signed it was revoked.",
    )
    added: int = Field(0, ge=0, description="Number of images of cards that were added on this device.")
    last_push: PushNote | None = Field(None, description="The last attempt to change the bundles over SSH; null if there was none.")


class ModelState(Payload):
    """``state/model``: the active model."""

    schema_: Literal["cardedge.model/1"] = Field("cardedge.model/1", alias="schema")
    at: Instant
    model_id: str
    name: str
    backend: str
    artefact: str = Field(description="sha256 of the model file that runs.")
    dim: int = Field(ge=1)


class ControlsState(Payload):
    """``state/controls``: values that commands change while the daemon runs."""

    schema_: Literal["cardedge.controls/1"] = Field("cardedge.controls/1", alias="schema")
    at: Instant
    enabled: bool = Field(description="False while recognition is paused.")
    threshold: FiniteFloat = Field(ge=0, le=1, description="Lowest verification of an identified card.")


class Problem(Payload):
    """Something that needs attention. ``part`` is for example ``camera``, ``network``, ``index``, ``outbox``, ``temperature``."""

    part: str
    message: str
    since: Instant


class CameraHealth(Payload):
    """The frame source."""

    state: str = Field(description="`running`, `opening`, or the failure, e.g. `frozen`.")
    source: str
    width: int | None = None
    height: int | None = None
    fps: FiniteFloat | None = None
    frame_age_s: FiniteFloat | None = None
    reopened: int = 0
    last_error: str | None = None


class NpuHealth(Payload):
    """State and sensor values of the NPU; null where it does not report a value."""

    state: str = Field(description="`absent`, `opening`, `ready`, `failed`, `closed`.")
    reopened: int
    last_error: str | None = None
    temperature_c: float | None = None
    throttling_level: int | None = Field(None, description="Thermal throttling level of the chip, from 0; null while it is not throttled.")
    clock_mhz: float | None = None
    architecture: str | None = None
    firmware: str | None = None
    runtime: str | None = Field(None, description="Version of HailoRT, e.g. `4.23.0`.")
    pcie: str | None = Field(None, description="PCIe generation and width, e.g. `Gen3 x1`.")
    gauges_error: str | None = Field(None, description="Why the latest sensor values could not be read.")


class NetworkHealth(Payload):
    """The embedder (not the local network)."""

    state: str
    backend: str
    model_id: str
    last_error: str | None = None
    npu: NpuHealth | None = Field(None, description="Null with the CPU backend.")


class PublisherHealth(Payload):
    """The connection to the broker and the outbox."""

    state: str = Field(description="`connected`, `connecting`, `waiting`, `refused: …`, `stopped`.")
    connected: bool
    protocol: Literal["5", "3.1.1"] | None
    reconnects: int
    outbox_rows: int
    outbox_bytes: int
    oldest_age_s: FiniteFloat | None = Field(description="Age of the oldest event in the outbox; null if it is empty.")
    dropped: dict[str, int] = Field(
        description="Lost events by cause: the limit they exceeded (`rows`, `bytes`, `age`), or a damaged file (`damage`). "
        "Counted since the outbox was created."
    )
    quarantined: int = Field(description="Events that the broker refused or the disk damaged. Counted since the outbox was created.")
    corrupt_databases: int = Field(description="Damaged outbox files that were renamed and replaced.")
    refused_states: int = Field(description="States and images that were too large or that the broker refused, since the start.")
    refused_commands: int = Field(description="Commands that were malformed, too large, retained or too many, since the start.")
    last_error: str | None
    awaiting_home_assistant: bool = Field(
        False, description="Events are kept in the outbox until Home Assistant's birth message or the end of `birth_wait_s`."
    )


class Quantiles(Payload):
    """Median and 95th percentile over the last few minutes."""

    p50: FiniteFloat
    p95: FiniteFloat


class HealthState(Payload):
    """``health``: the condition of the scanner. Published every 30 s and when ``state`` or ``problems`` change."""

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
    latency_ms: dict[str, Quantiles] = Field(description="Milliseconds by stage, e.g. `locate`, `embed`, `capture_to_event`.")
    temperatures_c: dict[str, FiniteFloat]
    drops: dict[str, int] = Field(description="Items that full queues dropped since the start, e.g. `frames`.")
    memory_mb: FiniteFloat | None = None
    processor_s: dict[str, FiniteFloat] = Field(
        {},
        description="Processor seconds in the last hour, without the NPU: `per_identified_card`, and `per_idle_minute`, when no card is "
        "recognized. Either is absent if there was no such time.",
    )
    clock_synchronized: bool | None = Field(
        None, description="Whether the clock is synchronized to a time server; events carry wrong times if false. Null if not known."
    )
    versions: dict[str, str]


def last_card(event: CardEvent) -> LastCardState | None:
    """Return the ``state/last_card`` that follows from an event, or ``None`` if the event neither identifies nor corrects a card."""
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
    """Return a text that is valid as a state of Home Assistant: encodable, and cut with an ellipsis at the end if it was too long."""
    text = replace_surrogates(text)
    return text if len(text) <= MAX_STATE_CHARS else text[: MAX_STATE_CHARS - 1] + "…"
