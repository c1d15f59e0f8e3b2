"""A session with a push client: each request is checked, executed, recorded in the audit and answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge import __version__
from edge.errors import BundleError, ConnectionLostError, CounterBusyError, DeviceError, EdgeError, ExitCode, ProtocolError, RevokedKeyError
from edge.index import releases
from edge.index.audit import Audit
from edge.index.counter_session import wait_for_counter
from edge.index.pruning import prune
from edge.index.rejection import reject
from edge.index.renewal import complete_renewal, renew
from edge.index.signers import install_signers, read_signers, refuse_revoked, revert_revoked_trial
from edge.receiving.assembly import Assembly
from edge.receiving.chunk_list import receive_chunk_list
from edge.receiving.incoming import Wanted, exclusive_push, remove_leftovers
from edge.receiving.messages import (
    Blocks,
    Chunk,
    Commit,
    Completed,
    ConfirmRequest,
    DeviceReport,
    Groups,
    Hello,
    ListRequest,
    Offer,
    OfferSigners,
    Outline,
    PruneRequest,
    Refused,
    RejectRequest,
    Releases,
    ReportRequest,
    Request,
    RollbackRequest,
    SignersInstalled,
    Status,
    StatusRequest,
    Step,
    TransferPlan,
)
from edge.receiving.report import read_report
from edge.receiving.staging import Staging
from edge.receiving.status import MAX_REASON, active_manifest, free_bytes, manifest_facts, read_status, release_facts, revert_if_overdue

if TYPE_CHECKING:
    from pathlib import Path

    from edge.index.stamps import Stamp
    from edge.receiving.acceptance import Acceptance, VerifiedOffer
    from edge.receiving.transfer import Channel

_log = logging.getLogger(__name__)

_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Receiver:
    """The device's end of a session. ``root`` is the index folder, see ``edge.index.releases``."""

    channel: Channel[Request]
    root: Path
    device_id: str
    acceptance: Acceptance
    audit: Audit

    def serve(self) -> ExitCode:
        """Execute requests until the client disconnects or one is refused; return the exit status.

        Raises ``ConnectionLostError``.
        """
        complete_renewal(self.root)
        self.channel.send(Hello(device_id=self.device_id, version=__version__, model_id=self.acceptance.model_id))
        try:
            while (received := self.channel.receive_if_any()) is not None:
                revert_if_overdue(self.root)
                self._check_technician(received.message)
                self._execute(received.message, received.payload)
        except ConnectionLostError:
            raise
        except EdgeError as error:
            self.channel.send(Refused(reason=str(error)[:MAX_REASON], exit_code=error.exit_code))
            return error.exit_code
        except OSError as error:
            reason = f"{error.filename or self.root}: {error.strerror or error}; free space on the device, or check its disk"
            self.channel.send(Refused(reason=reason[:MAX_REASON], exit_code=ExitCode.UNAVAILABLE))
            return ExitCode.UNAVAILABLE
        return ExitCode.OK

    def _execute(self, request: Request, payload: bytes) -> None:
        match request:
            case StatusRequest() | ReportRequest() | ListRequest():
                self.channel.send(self._read(request))
            case Offer():
                self._handle_offer(request, payload)
            case ConfirmRequest(bundle_id=bundle_id):
                self._confirm_or_roll_back("confirm", "confirmed", bundle_id)
            case RollbackRequest():
                self._confirm_or_roll_back("rollback", "rolled_back", None)
            case RejectRequest():
                self._reject(request)
            case OfferSigners():
                self._install_signers(request, payload)
            case PruneRequest(keep=keep):
                remove_leftovers(self.root)  # first: refused while a push is under way
                removed = prune(self.root, keep)
                line = self.audit.write("prune", None, "pruned", reason=f"removed {', '.join(removed) or 'nothing'}")
                self.channel.send(Completed(result="pruned", bundle_id=None, removed=removed, audit=line.to_json_dict()))
            case Chunk() | Outline() | Groups() | Blocks() | Commit():
                raise ProtocolError(f"{request.kind} is valid only after an accepted offer; start the push again")

    def _read(self, request: StatusRequest | ReportRequest | ListRequest) -> Status | DeviceReport | Releases:
        match request:
            case StatusRequest():
                return read_status(self.root)
            case ReportRequest(compare=compare):
                return read_report(self.root, self.acceptance.rules, self.acceptance.review_dir, compare=compare)
            case ListRequest():
                return Releases(releases=tuple(map(release_facts, releases.list_releases(self.root))))

    def _check_technician(self, request: Request) -> None:
        """Raise ``RevokedKeyError`` if the client's access is revoked. A list of signers is accepted from anyone: its signature counts."""
        if self.audit.technician is None or isinstance(request, OfferSigners):
            return
        installed = read_signers(self.root)
        if installed is not None and self.audit.technician in installed.revoked_technicians:
            raise RevokedKeyError(f"the access of {self.audit.technician} is revoked on this device; connect with another SSH key")

    def _install_signers(self, offer: OfferSigners, payload: bytes) -> None:
        """Install a list of signers; a release on trial that a revoked key has signed is reverted."""
        if len(payload) != offer.list_bytes:
            raise ProtocolError("the payload of the list of signers does not have the stated length; push it again")
        try:
            new, signer, changed = install_signers(self.root, payload, self.acceptance.rules)
        except EdgeError as error:
            self.audit.write("signers", None, "refused", reason=str(error))
            raise
        reverted = revert_revoked_trial(self.root, self.acceptance.rules)
        reason = f"version {new.version}" + (f", {reverted} was reverted" if reverted else "")
        line = self.audit.write("signers", reverted, "installed" if changed else "unchanged", reason=reason, signer=signer)
        self.channel.send(SignersInstalled(version=new.version, changed=changed, audit=line.to_json_dict()))

    def _reject(self, request: RejectRequest) -> None:
        try:
            record = reject(self.root, request.bundle_id, request.reason)
        except EdgeError as error:
            self.audit.write("reject", request.bundle_id, "refused", reason=str(error))
            raise
        line = self.audit.write("reject", request.bundle_id, "rejected", reason=request.reason)
        self.channel.send(Completed(result="rolled_back", bundle_id=record.back_to_id, audit=line.to_json_dict()))

    def _confirm_or_roll_back(self, action: str, result: Literal["confirmed", "rolled_back"], bundle_id: str | None) -> None:
        """Confirm the release ``bundle_id``, or roll back if it is None; record the outcome in the audit."""
        try:
            if bundle_id is not None:
                releases.confirm(self.root, bundle_id)
            else:
                if (previous := releases.previous_id(self.root)) is not None:
                    refuse_revoked(self.root, previous, self.acceptance.rules)
                bundle_id = releases.rollback(self.root, expected_model_id=self.acceptance.model_id).bundle_id
        except EdgeError as error:
            self.audit.write(action, bundle_id, "refused", reason=str(error))
            raise
        line = self.audit.write(action, bundle_id, result)
        self.channel.send(Completed(result=result, bundle_id=bundle_id, audit=line.to_json_dict()))

    def _handle_offer(self, offer: Offer, payload: bytes) -> None:
        """Receive and activate an offered bundle, or only plan it in a dry run; record a failure in the audit."""
        bundle_id = None
        try:
            if len(payload) != offer.manifest_bytes + offer.signature_bytes:
                raise ProtocolError("the payload of the offer does not have the stated length; start the push again")
            manifest, signature = payload[: offer.manifest_bytes], payload[offer.manifest_bytes :]
            verified = self.acceptance.check_offer(manifest, signature, active_manifest(self.root))
            bundle_id = verified.manifest.bundle_id
            if offer.dry_run:
                installed = _is_intact(self.root, bundle_id)
                self._send_plan(verified, None if installed else self._incoming(verified).planned())
                return
            with exclusive_push(self.root):
                self._receive_bundle(offer, verified)
        except ConnectionLostError as error:
            self.audit.write("push", bundle_id, "cut", reason=str(error))
            raise
        except EdgeError as error:
            if not offer.dry_run:
                self.audit.write("push", bundle_id, "waiting" if isinstance(error, CounterBusyError) else "refused", reason=str(error))
            raise

    def _receive_bundle(self, offer: Offer, verified: VerifiedOffer) -> None:
        bundle_id = verified.manifest.bundle_id
        if not _is_intact(self.root, bundle_id):
            incoming = self._incoming(verified)
            self._check_free_space(incoming)
            incoming.prepare()
            stamp = self._receive_files(verified, incoming)
            self._step("install")
            releases.adopt(self.root, incoming.folder.path, bundle_id, stamp)
        else:
            self._send_plan(verified, None)
            self._receive_until_commit(None)
        self.acceptance.check_signer(verified.manifest_bytes, verified.signature_bytes)  # a key may have been revoked during the transfer
        if renew(self.root, bundle_id, verified.manifest_bytes, verified.signature_bytes):
            self._step("renew")
        was_current = releases.current_id(self.root) == bundle_id
        if not was_current and self.acceptance.review_dir is not None:
            wait_for_counter(self.root, bundle_id, self.acceptance.review_dir, self.acceptance.rules)
        self._step("activate")
        releases.activate(self.root, bundle_id, expected_model_id=self.acceptance.model_id, confirm_within_s=offer.confirm_within_s)
        result: Literal["activated", "unchanged"] = "unchanged" if was_current else "activated"
        line = self.audit.write("push", bundle_id, result, signer=verified.signer)
        on_trial = releases.awaiting_confirmation(self.root)
        self.channel.send(
            Completed(result=result, bundle_id=bundle_id, confirm_before=on_trial.deadline if on_trial else None, audit=line.to_json_dict())
        )

    def _incoming(self, verified: VerifiedOffer) -> Assembly | Staging:
        """Return what receives the files; the chunk list of a bundle with chunks is requested first."""
        if verified.manifest.chunks is None:
            return Staging(self.root, verified)
        return Assembly(self.root, verified, receive_chunk_list(self.channel, self.root, verified.manifest))

    def _send_plan(self, verified: VerifiedOffer, wanted: Wanted | None) -> None:
        """Send what is to be sent; ``wanted`` is None if the bundle is installed already."""
        is_installed = wanted is None
        wanted = wanted or Wanted({}, b"", 0)
        active = active_manifest(self.root)
        plan = TransferPlan(
            bundle_id=verified.manifest.bundle_id,
            current=manifest_facts(active) if active else None,
            signer=verified.signer.principal if verified.signer else None,
            wanted=wanted.files,
            bytes_wanted=wanted.size_bytes,
            free_bytes=free_bytes(self.root),
            installed=is_installed,
        )
        self.channel.send(plan, wanted.chunks)

    def _check_free_space(self, incoming: Assembly | Staging) -> None:
        needed, free, keep = incoming.needed_bytes(), free_bytes(self.root), self.acceptance.rules.keep_free_mb * _MB
        if free < needed + keep:
            raise DeviceError(
                f"{self.root}: {free / _MB:.0f} MB free, {needed / _MB:.1f} needed and {keep / _MB:.0f} to be kept free; "
                "remove old bundles with `push_index prune --keep 2 HOST`"
            )

    def _receive_until_commit(self, incoming: Assembly | Staging | None) -> None:
        """Store chunks until the client commits; ``incoming`` is None if nothing is wanted."""
        while True:
            received = self.channel.receive()
            match received.message:
                case Chunk() | Blocks() if incoming is not None:
                    self.channel.send(incoming.store(received.message, received.payload))
                case Commit():
                    return
                case other:
                    raise ProtocolError(f"{other.kind} during a push; start the push again")

    def _receive_files(self, verified: VerifiedOffer, incoming: Assembly | Staging) -> Stamp:
        """Receive what is missing and check the files; return their stamp.

        Files that were assembled from a release may be wrong, because a part of it has decayed; what is wrong is then requested once.
        """
        for last in (False, True):
            self._send_plan(verified, incoming.wanted())
            self._receive_until_commit(incoming)
            incoming.require_complete()
            incoming.folder.write_manifest(verified)
            self._step("sync")
            self._step("verify")
            try:
                with incoming.folder.flushing():  # hashing takes the processor, flushing the disk
                    return self.acceptance.check_files(incoming.folder.path)
            except BundleError:
                if last or not incoming.find_damage():
                    incoming.folder.discard()
                    raise
        raise AssertionError

    def _step(self, step: str) -> None:
        _log.info("%s", step)
        self.channel.send(Step(step=step))


def _is_intact(root: Path, bundle_id: str) -> bool:
    """Return whether a release is installed and can be opened."""
    try:
        releases.open_release(root, bundle_id)
    except BundleError:
        return False
    return True
