"""The messages of a push between client and device; ``docs/updating.md`` describes the protocol.

Each message travels in the header of a packet (``edge.receiving.transfer``). Unknown kinds and unknown fields are refused.
"""

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AwareDatetime, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter

from edge.bundles.manifest import MANIFEST_MAX_BYTES, BundleId, DataFile, Sha256
from edge.bundles.signers import SIGNERS_MAX_BYTES
from edge.index.activity import Activity
from edge.index.counter_session import Waiting
from edge.index.renames import Renames
from edge.schema import Schema

PROTOCOL: Final = "cardedge-push/1"
REMOTE_COMMAND: Final = "cardedge index receive"
"""The command that a client has the SSH server run; a forced command finds it in ``SSH_ORIGINAL_COMMAND``."""

SIGNATURE_MAX_BYTES: Final = 1 << 16
"""A signature by the largest RSA key has about 6 kB."""

Encoding: TypeAlias = Literal["plain", "zlib", "zlib-planes"]
PLANES: Final = 4
"""Bytes of a number in ``Blocks`` with the encoding ``zlib-planes``."""

Reason: TypeAlias = Annotated[str, Field(max_length=4000)]


class SignersInfo(Schema):
    """The list of signers in force; ``version`` is None if the device has only the file of its settings."""

    version: PositiveInt | None
    problem: Reason | None = None


class ReleaseInfo(Schema):
    """A release as sent to a client. ``problem`` is the reason if its manifest cannot be read."""

    bundle_id: BundleId
    name: str | None = None
    created: AwareDatetime | None = None
    cards: int | None = None
    problem: Reason | None = None
    current: bool = False
    previous: bool = False


class TrialInfo(Schema):
    """A release on trial. At ``deadline`` the device reverts to ``before`` unless it is confirmed (None: no confirmation is required).

    ``serving`` is true once a daemon has loaded it, ``stood`` once a daemon has used it for a minute.
    """

    bundle_id: BundleId
    before: BundleId
    deadline: AwareDatetime | None
    serving: bool
    stood: bool


# --- sent by the device -----------------------------------------------------------------------------------------------


class Hello(Schema):
    """The first message: the device and the model it uses."""

    kind: Literal["hello"] = "hello"
    protocol: str = Field(PROTOCOL, max_length=100)
    device_id: str
    version: str
    model_id: str


class Status(Schema):
    """State of the releases. ``reverted`` is the last automatic revert with its reason, until another release has become healthy."""

    kind: Literal["status"] = "status"
    current: ReleaseInfo | None
    previous: ReleaseInfo | None
    trial: TrialInfo | None
    reverted: Reason | None
    free_bytes: NonNegativeInt
    last: dict[str, str | None] | None = Field(None, description="The newest line of the audit.")


class DeviceReport(Schema):
    """Everything a fleet is managed by. ``activity`` is what the daemon wrote last, ``daemon_runs`` whether it still writes.

    ``reverted_id`` is the release of ``status.reverted``. ``waiting`` is a bundle that waits while cards are counted. ``renames`` compares
    the active with the previous release if that was requested.
    """

    kind: Literal["report"] = "report"
    status: Status
    signers: SignersInfo
    counter: PositiveInt | None = Field(description="Counter of the active bundle.")
    expires: AwareDatetime | None = Field(description="Date of expiry of the active bundle.")
    reverted_id: BundleId | None
    waiting: Waiting | None
    counter_session: bool = Field(description="Cards are being counted.")
    activity: Activity | None
    daemon_runs: bool
    renames: Renames | None


class Releases(Schema):
    """All installed releases, newest first."""

    kind: Literal["releases"] = "releases"
    releases: tuple[ReleaseInfo, ...]


class WantedFile(Schema):
    """A file to send. ``offset`` bytes with the hash ``sha256`` are left from an interrupted push; start at 0 if the client's differ."""

    size_bytes: NonNegativeInt
    offset: NonNegativeInt
    sha256: Sha256


class TransferPlan(Schema):
    """The offer is accepted; the files ``wanted`` are missing. ``free_bytes`` is the free space before the transfer.

    For a bundle with chunks that is not installed, ``wanted`` is empty, and the payload has a bit per chunk, 1 for those to send (as by
    ``numpy.packbits``). It is then sent again after a commit if the assembled files are wrong.
    """

    kind: Literal["plan"] = "plan"
    bundle_id: BundleId
    current: ReleaseInfo | None
    signer: str | None
    wanted: dict[DataFile, WantedFile]
    bytes_wanted: NonNegativeInt
    free_bytes: NonNegativeInt
    installed: bool


class Stored(Schema):
    """A chunk was written; the file now has ``size_bytes``."""

    kind: Literal["stored"] = "stored"
    name: DataFile
    size_bytes: NonNegativeInt


class OutlineRequest(Schema):
    """The offered bundle is acceptable and has chunks: request ``Outline``."""

    kind: Literal["outline?"] = "outline?"


class GroupsRequest(Schema):
    """Request ``Groups``. The payload has a bit per group of the outline, 1 for those to send (as by ``numpy.packbits``)."""

    kind: Literal["groups?"] = "groups?"
    bytes_wanted: NonNegativeInt


class BlocksStored(Schema):
    """The chunks of a packet were written; ``missing`` chunks are still wanted."""

    kind: Literal["blocks-stored"] = "blocks-stored"
    missing: NonNegativeInt


class Step(Schema):
    """A step that the device is starting."""

    kind: Literal["step"] = "step"
    step: str


class Completed(Schema):
    """The request was executed. ``confirm_before`` is the deadline for confirming an activated release."""

    kind: Literal["done"] = "done"
    result: Literal["activated", "unchanged", "confirmed", "rolled_back", "pruned"]
    bundle_id: BundleId | None
    confirm_before: AwareDatetime | None = None
    removed: tuple[str, ...] = ()
    audit: dict[str, str | None] | None = None


class SignersInstalled(Schema):
    """The device trusts this ``version`` of the list of signers; ``changed`` is false if it did before."""

    kind: Literal["signers"] = "signers"
    version: PositiveInt
    changed: bool
    audit: dict[str, str | None] | None = None


class Refused(Schema):
    """The request was refused and nothing was changed. ``exit_code`` is the exit status the device's own command would have."""

    kind: Literal["refused"] = "refused"
    reason: Reason
    exit_code: int


# --- sent by the client -----------------------------------------------------------------------------------------------


class StatusRequest(Schema):
    """Request ``Status``."""

    kind: Literal["status?"] = "status?"


class ReportRequest(Schema):
    """Request ``DeviceReport``, with the comparison of names if ``compare``."""

    kind: Literal["report?"] = "report?"
    compare: bool = False


class ListRequest(Schema):
    """Request ``Releases``."""

    kind: Literal["list?"] = "list?"


class Offer(Schema):
    """Offer a bundle. The payload is the manifest followed by the signature (0 bytes: unsigned).

    ``allow_downgrade`` is read by version 0.1.0 only; since then the setting ``index.allow_downgrade`` of the device decides.
    """

    kind: Literal["offer"] = "offer"
    manifest_bytes: int = Field(ge=1, le=MANIFEST_MAX_BYTES)
    signature_bytes: int = Field(ge=0, le=SIGNATURE_MAX_BYTES)
    allow_downgrade: bool = False
    dry_run: bool = False
    confirm_within_s: PositiveFloat | None = Field(None, le=3600)


class Chunk(Schema):
    """Write the payload at ``offset`` of a wanted file: its present end, or 0 to start it over."""

    kind: Literal["chunk"] = "chunk"
    name: DataFile
    offset: NonNegativeInt


class Outline(Schema):
    """The outline of the bundle's chunk list: the payload has a record (``edge.bundles.chunks``) of each of its groups."""

    kind: Literal["outline"] = "outline"


class Groups(Schema):
    """Groups of the chunk list that were requested, one after the other; cut into as many packets as needed."""

    kind: Literal["groups"] = "groups"


class Blocks(Schema):
    """The next ``count`` chunks that are wanted, at most 1 MiB together; the payload is compressed where that pays.

    With ``zlib-planes``, all first bytes of the 4-byte numbers are compressed first, then all second ones, and so on: the upper bytes of
    small numbers are alike.
    """

    kind: Literal["blocks"] = "blocks"
    count: PositiveInt
    encoding: Encoding = "plain"


class Commit(Schema):
    """Check and activate the bundle; everything was sent."""

    kind: Literal["commit"] = "commit"


class ConfirmRequest(Schema):
    """Confirm the active release."""

    kind: Literal["confirm"] = "confirm"
    bundle_id: BundleId


class RollbackRequest(Schema):
    """Roll back to the previous release."""

    kind: Literal["rollback"] = "rollback"


class OfferSigners(Schema):
    """Install the list of signers in the payload (``signers.json``)."""

    kind: Literal["offer_signers"] = "offer_signers"
    list_bytes: int = Field(ge=1, le=SIGNERS_MAX_BYTES)


class RejectRequest(Schema):
    """Revert the active release because it recognizes badly, although it may have completed its trial."""

    kind: Literal["reject"] = "reject"
    bundle_id: BundleId
    reason: Reason


class PruneRequest(Schema):
    """Remove old releases; keep the newest ``keep`` and those in use."""

    kind: Literal["prune"] = "prune"
    keep: PositiveInt


Response: TypeAlias = (
    Hello
    | Status
    | DeviceReport
    | Releases
    | OutlineRequest
    | GroupsRequest
    | TransferPlan
    | Stored
    | BlocksStored
    | Step
    | Completed
    | SignersInstalled
    | Refused
)
Request: TypeAlias = (
    StatusRequest
    | ReportRequest
    | ListRequest
    | Offer
    | Outline
    | Groups
    | Chunk
    | Blocks
    | Commit
    | ConfirmRequest
    | RollbackRequest
    | RejectRequest
    | OfferSigners
    | PruneRequest
)
Message: TypeAlias = Response | Request

# built when first used: a client never parses requests, a device no responses, and most commands neither
_DEFERRED: Final = ConfigDict(defer_build=True)
RESPONSES: Final[TypeAdapter[Response]] = TypeAdapter(Annotated[Response, Field(discriminator="kind")], config=_DEFERRED)
REQUESTS: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="kind")], config=_DEFERRED)
