"""One conversation with a pusher: what it asks for is checked, carried out, written down and answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge import __version__
from edge.bundles.manifest import read_manifest
from edge.errors import BundleError, ConnectionLostError, DeviceError, EdgeError, ExitCode, ProtocolError
from edge.index import releases
from edge.index.audit import Audit
from edge.index.pruning import prune
from edge.receiving import staging
from edge.receiving.messages import (
    Chunk,
    Commit,
    Completed,
    ConfirmRequest,
    Hello,
    ListRequest,
    Offer,
    PruneRequest,
    Refused,
    Releases,
    Request,
    RollbackRequest,
    StatusRequest,
    Step,
    Stored,
    TransferPlan,
)
from edge.receiving.staging import Staging
from edge.receiving.status import MAX_REASON, free_bytes, manifest_facts, read_status, release_facts, revert_if_overdue

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.manifest import Manifest
    from edge.receiving.acceptance import Acceptance, VerifiedOffer
    from edge.receiving.transfer import Channel

_log = logging.getLogger(__name__)

_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Receiver:
    """The device's end of one conversation. ``root`` is the index folder, see ``edge.index.releases``."""

    channel: Channel[Request]
    root: Path
    device_id: str
    acceptance: Acceptance
    audit: Audit

    def serve(self) -> ExitCode:
        """Answer requests until the other side hangs up or one is refused; return the exit status of that.

        Raises ``ConnectionLostError``.
        """
        self.channel.send(Hello(device_id=self.device_id, version=__version__, model_id=self.acceptance.model_id))
        try:
            while (received := self.channel.receive_if_any()) is not None:
                revert_if_overdue(self.root)
                self._answer(received.message, received.payload)
        except ConnectionLostError:
            raise
        except EdgeError as error:
            self.channel.send(Refused(reason=str(error)[:MAX_REASON], exit_code=error.exit_code))
            return error.exit_code
        return ExitCode.OK

    def _answer(self, request: Request, payload: bytes) -> None:
        match request:
            case StatusRequest():
                self.channel.send(read_status(self.root))
            case ListRequest():
                self.channel.send(Releases(releases=tuple(map(release_facts, releases.list_releases(self.root)))))
            case Offer():
                self._take(request, payload)
            case ConfirmRequest(bundle_id=bundle_id):
                self._change("confirm", "confirmed", bundle_id)
            case RollbackRequest():
                self._change("rollback", "rolled_back", None)
            case PruneRequest(keep=keep):
                staging.sweep(self.root)  # first: it is refused while a push is under way
                removed = prune(self.root, keep)
                line = self.audit.write("prune", None, "pruned", reason=f"removed {', '.join(removed) or 'nothing'}")
                self.channel.send(Completed(result="pruned", bundle_id=None, removed=removed, audit=line.to_json_dict()))
            case Chunk() | Commit():
                raise ProtocolError(f"{request.kind} comes behind an accepted offer only; start the push again")

    def _change(self, action: str, result: Literal["confirmed", "rolled_back"], bundle_id: str | None) -> None:
        """Confirm or roll back, and write down how that went."""
        try:
            if bundle_id is not None:
                releases.confirm(self.root, bundle_id)
            else:
                bundle_id = releases.rollback(self.root, expected_model_id=self.acceptance.model_id).bundle_id
        except EdgeError as error:
            self.audit.write(action, bundle_id, "refused", reason=str(error))
            raise
        line = self.audit.write(action, bundle_id, result)
        self.channel.send(Completed(result=result, bundle_id=bundle_id, audit=line.to_json_dict()))

    def _take(self, offer: Offer, payload: bytes) -> None:
        """Take an offered bundle, or plan to; whatever keeps it from serving is written down."""
        bundle_id = None
        try:
            if len(payload) != offer.manifest_bytes + offer.signature_bytes:
                raise ProtocolError("the offer's payload is not as long as it says; start the push again")
            manifest, signature = payload[: offer.manifest_bytes], payload[offer.manifest_bytes :]
            offered = self.acceptance.offered(manifest, signature, active_manifest(self.root), allow_downgrade=offer.allow_downgrade)
            bundle_id = offered.manifest.bundle_id
            if offer.dry_run:
                self.channel.send(self._plan(offered, Staging(self.root, offered), planning=True))
                return
            with staging.exclusive_push(self.root):
                self._receive(offer, offered)
        except ConnectionLostError as error:
            self.audit.write("push", bundle_id, "cut", reason=str(error))
            raise
        except EdgeError as error:
            if not offer.dry_run:
                self.audit.write("push", bundle_id, "refused", reason=str(error))
            raise

    def _receive(self, offer: Offer, offered: VerifiedOffer) -> None:
        bundle_id = offered.manifest.bundle_id
        if not _whole(self.root, bundle_id):
            growing = Staging(self.root, offered)
            self._check_room(growing)
            growing.prepare()
            self.channel.send(self._plan(offered, growing))
            self._fill(growing)
            self._settle(growing, bundle_id)
        else:
            self.channel.send(self._plan(offered, None))
            self._expect_commit()
        was_current = releases.current_id(self.root) == bundle_id
        self._step("activate")
        releases.activate(self.root, bundle_id, expected_model_id=self.acceptance.model_id, confirm_within_s=offer.confirm_within_s)
        result: Literal["activated", "unchanged"] = "unchanged" if was_current else "activated"
        line = self.audit.write("push", bundle_id, result, signer=offered.signer)
        waiting = releases.awaiting_confirmation(self.root)
        self.channel.send(
            Completed(result=result, bundle_id=bundle_id, confirm_before=waiting.deadline if waiting else None, audit=line.to_json_dict())
        )

    def _plan(self, offered: VerifiedOffer, growing: Staging | None, *, planning: bool = False) -> TransferPlan:
        """Say what is missing; ``growing`` is None when the bundle is installed already."""
        installed = growing is None or _whole(self.root, offered.manifest.bundle_id)
        wanted = {} if installed or growing is None else growing.wanted(planning=planning)
        active = active_manifest(self.root)
        return TransferPlan(
            bundle_id=offered.manifest.bundle_id,
            current=manifest_facts(active) if active else None,
            signer=offered.signer.principal if offered.signer else None,
            wanted=wanted,
            bytes_wanted=sum(file.size_bytes - file.offset for file in wanted.values()),
            free_bytes=free_bytes(self.root),
            installed=installed,
        )

    def _check_room(self, growing: Staging) -> None:
        missing, free, keep = growing.missing_bytes(), free_bytes(self.root), self.acceptance.rules.keep_free_mb * _MB
        if free < missing + keep:
            raise DeviceError(
                f"{self.root}: {free / _MB:.0f} MB free, {missing / _MB:.1f} needed and {keep / _MB:.0f} to be kept free; "
                "remove old bundles with `push_index prune --keep 2 HOST`"
            )

    def _fill(self, growing: Staging) -> None:
        """Store pieces until the pusher has sent everything."""
        while True:
            received = self.channel.receive()
            match received.message:
                case Chunk(name=name, offset=offset):
                    self.channel.send(Stored(name=name, size_bytes=growing.write(name, offset, received.payload)))
                case Commit():
                    return
                case other:
                    raise ProtocolError(f"{other.kind} in the middle of a push; start the push again")

    def _expect_commit(self) -> None:
        if not isinstance(message := self.channel.receive().message, Commit):
            raise ProtocolError(f"{message.kind} where nothing was left to send; start the push again")

    def _settle(self, growing: Staging, bundle_id: str) -> None:
        """Check what came, and move it to the releases."""
        self._step("sync")
        growing.finish()
        self._step("verify")
        try:
            stamp = self.acceptance.check_files(growing.folder)
        except BundleError:
            growing.discard()
            raise
        self._step("install")
        releases.adopt(self.root, growing.folder, bundle_id, stamp)

    def _step(self, step: str) -> None:
        _log.info("%s", step)
        self.channel.send(Step(step=step))


def active_manifest(root: Path) -> Manifest | None:
    """Return the manifest of the bundle that serves; None when there is none that can be read."""
    active = releases.current_id(root)
    try:
        return read_manifest(root / releases.RELEASES / active) if active else None
    except BundleError:
        return None


def _whole(root: Path, bundle_id: str) -> bool:
    """Say whether a release is installed and opens."""
    try:
        releases.open_release(root, bundle_id)
    except BundleError:
        return False
    return True
