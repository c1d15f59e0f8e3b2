"""What a pusher and a device say to each other; ``docs/updating.md`` describes the conversation.

Each message is the header of one frame (``edge.receiving.transfer``). Unknown kinds and unknown fields are refused.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter

from edge.bundles.manifest import MANIFEST_MAX_BYTES, BundleId, DataFile, Sha256
from edge.schema import Schema

PROTOCOL: Final = "cardedge-push/1"
REMOTE_COMMAND: Final = "cardedge index receive"
"""The command that a client has the SSH server run; a forced command finds it in ``SSH_ORIGINAL_COMMAND``."""

SIGNATURE_MAX_BYTES: Final = 1 << 16
"""An SSH signature by the largest RSA key takes about 6 kB."""

Reason: TypeAlias = Annotated[str, Field(max_length=4000)]


class ReleaseInfo(Schema):
    """An installed bundle as a pusher sees it; ``problem`` says why it cannot be read."""

    bundle_id: BundleId
    name: str | None = None
    created: AwareDatetime | None = None
    cards: int | None = None
    problem: Reason | None = None
    current: bool = False
    previous: bool = False


class TrialInfo(Schema):
    """A bundle on trial: at ``deadline`` the device goes back to ``before`` unless somebody confirms it (None: nobody has to).

    ``serving`` says that the daemon has taken it, ``stood`` that it has served it for a minute.
    """

    bundle_id: BundleId
    before: BundleId
    deadline: AwareDatetime | None
    serving: bool
    stood: bool


# --- the device speaks ------------------------------------------------------------------------------------------------


class Hello(Schema):
    """The first frame: who is there and what it runs."""

    kind: Literal["hello"] = "hello"
    protocol: str = Field(PROTOCOL, max_length=100)
    device_id: str
    version: str
    model_id: str


class Status(Schema):
    """How the device stands. ``reverted`` says which bundle was left again by itself, and why, until another one has proven itself."""

    kind: Literal["status"] = "status"
    current: ReleaseInfo | None
    previous: ReleaseInfo | None
    trial: TrialInfo | None
    reverted: Reason | None
    free_bytes: NonNegativeInt
    last: dict[str, str | None] | None = Field(None, description="The newest line of the audit.")


class Releases(Schema):
    """All installed bundles, newest first."""

    kind: Literal["releases"] = "releases"
    releases: tuple[ReleaseInfo, ...]


class WantedFile(Schema):
    """A file to be sent: ``offset`` bytes are there from a cut push, their hash is ``sha256`` (start at 0 when yours differs)."""

    size_bytes: NonNegativeInt
    offset: NonNegativeInt
    sha256: Sha256


class TransferPlan(Schema):
    """The offer is acceptable; these files are missing. ``free_bytes`` is the space before anything comes."""

    kind: Literal["plan"] = "plan"
    bundle_id: BundleId
    current: ReleaseInfo | None
    signer: str | None
    wanted: dict[DataFile, WantedFile]
    bytes_wanted: NonNegativeInt
    free_bytes: NonNegativeInt
    installed: bool


class Stored(Schema):
    """A piece is written; the file is ``size_bytes`` long now."""

    kind: Literal["stored"] = "stored"
    name: DataFile
    size_bytes: NonNegativeInt


class Step(Schema):
    """What the device is doing now."""

    kind: Literal["step"] = "step"
    step: str


class Completed(Schema):
    """The request is carried out; ``confirm_before`` says until when an activated bundle waits to be confirmed."""

    kind: Literal["done"] = "done"
    result: Literal["activated", "unchanged", "confirmed", "rolled_back", "pruned"]
    bundle_id: BundleId | None
    confirm_before: AwareDatetime | None = None
    removed: tuple[str, ...] = ()
    audit: dict[str, str | None] | None = None


class Refused(Schema):
    """The request is refused and nothing is changed; ``exit_code`` is what the device's own commands would end with."""

    kind: Literal["refused"] = "refused"
    reason: Reason
    exit_code: int


# --- the pusher speaks ------------------------------------------------------------------------------------------------


class StatusRequest(Schema):
    """Asks for ``Status``."""

    kind: Literal["status?"] = "status?"


class ListRequest(Schema):
    """Asks for ``Releases``."""

    kind: Literal["list?"] = "list?"


class Offer(Schema):
    """A bundle to be taken. The payload is the manifest and behind it the signature (0 bytes: unsigned)."""

    kind: Literal["offer"] = "offer"
    manifest_bytes: int = Field(ge=1, le=MANIFEST_MAX_BYTES)
    signature_bytes: int = Field(ge=0, le=SIGNATURE_MAX_BYTES)
    allow_downgrade: bool = False
    dry_run: bool = False
    confirm_within_s: PositiveFloat | None = Field(None, le=3600)


class Chunk(Schema):
    """The payload belongs at ``offset`` of a wanted file: where the file ends now, or 0 to begin it again."""

    kind: Literal["chunk"] = "chunk"
    name: DataFile
    offset: NonNegativeInt


class Commit(Schema):
    """Everything is sent: check it and let it serve."""

    kind: Literal["commit"] = "commit"


class ConfirmRequest(Schema):
    """The bundle on probation is to stay."""

    kind: Literal["confirm"] = "confirm"
    bundle_id: BundleId


class RollbackRequest(Schema):
    """The bundle before the present one is to serve again."""

    kind: Literal["rollback"] = "rollback"


class PruneRequest(Schema):
    """Remove old bundles but the newest ``keep`` and those in use."""

    kind: Literal["prune"] = "prune"
    keep: PositiveInt


Response: TypeAlias = Hello | Status | Releases | TransferPlan | Stored | Step | Completed | Refused
Request: TypeAlias = StatusRequest | ListRequest | Offer | Chunk | Commit | ConfirmRequest | RollbackRequest | PruneRequest
Message: TypeAlias = Response | Request

RESPONSES: Final[TypeAdapter[Response]] = TypeAdapter(Annotated[Response, Field(discriminator="kind")])
REQUESTS: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])
