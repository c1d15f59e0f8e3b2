"""Whether a device accepts a bundle: checks of the manifest before any file is sent, and of the files once they are received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.bundles.manifest import Manifest, parse_manifest
from edge.bundles.signature import Signer
from edge.errors import BundleError, ModelMismatchError, SignatureError
from edge.index.proven import DowngradeRule, check_downgrade
from edge.index.signers import signer_of
from edge.index.stamps import Stamp, take_stamp
from edge.recognition.embedding import PREPROCESSING_ID, ModelId
from edge.recognition.verification import STORED_BYTES
from edge.settings.sections import PushSection

if TYPE_CHECKING:
    from pathlib import Path

    from edge.index.releases import BundleCheck

_MB = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedOffer:
    """An acceptable manifest with the bytes that were received; ``signer`` is None if it is unsigned."""

    manifest: Manifest
    manifest_bytes: bytes
    signature_bytes: bytes
    signer: Signer | None


@dataclass(frozen=True, slots=True, eq=False)
class Acceptance:
    """The acceptance rules of a device.

    ``root`` is the index folder, ``model_id`` the model in use; ``check`` opens a bundle and runs its self-test. ``downgrades`` is the
    setting ``index.allow_downgrade``. ``review_dir`` has the lists of the counter, None without a page.
    """

    root: Path
    rules: PushSection
    model_id: ModelId
    check: BundleCheck
    downgrades: DowngradeRule = "proven"
    review_dir: Path | None = None

    def check_offer(self, manifest: bytes, signature: bytes, active: Manifest | None) -> VerifiedOffer:
        """Return a verified offer. ``active`` is the manifest of the active release.

        Raises ``SignatureError``, ``ModelMismatchError`` or ``BundleError`` with the reason if the bundle is not acceptable.
        """
        signer = self.check_signer(manifest, signature)  # first: an unsigned manifest is not even parsed
        offer = VerifiedOffer(parse_manifest(manifest, "manifest.json"), manifest, signature, signer)
        self._check_model(offer.manifest)
        self._check_limits(offer.manifest)
        self._check_recall(offer.manifest)
        check_downgrade(self.root, offer.manifest, active, self.downgrades)
        return offer

    def check_files(self, folder: Path) -> Stamp:
        """Verify the hashes of a complete bundle, open it and run its self-test; return its stamp. Raises ``BundleError``."""
        stamp = take_stamp(folder)
        self.check(folder, expected_model_id=self.model_id, verify_hashes=True)
        return stamp

    def check_signer(self, manifest: bytes, signature: bytes) -> Signer | None:
        """Return the signer, None if unsigned bundles are accepted. Raises ``SignatureError`` or ``SettingsError``."""
        if signature:
            return signer_of(self.root, self.rules, manifest, signature)
        if not self.rules.allow_unsigned:
            raise SignatureError(
                "the bundle is not signed and this device accepts only signed ones; sign it with tools.sign_bundle "
                "(or set push.allow_unsigned on the device)"
            )
        return None

    def _check_model(self, manifest: Manifest) -> None:
        for what, stated, known in (
            ("embedded by model", manifest.model_id, (self.model_id,)),
            ("prepared by", manifest.preprocessing, (PREPROCESSING_ID,)),
            ("given signatures by", manifest.signature, tuple(STORED_BYTES)),
        ):
            if stated not in known:
                raise ModelMismatchError(
                    f"{manifest.bundle_id} was {what} {stated}, this device uses {known[0]}; build the bundle for the model of this device"
                )

    def _check_limits(self, manifest: Manifest) -> None:
        size_bytes = sum(digest.size_bytes for digest in manifest.files.values())
        if size_bytes > self.rules.max_bundle_mb * _MB:
            raise BundleError(
                f"{manifest.bundle_id} has {size_bytes / _MB:.0f} MB, this device accepts at most {self.rules.max_bundle_mb} MB; "
                "build a smaller bundle, or raise push.max_bundle_mb on the device"
            )

    def _check_recall(self, manifest: Manifest) -> None:
        if manifest.entries and (manifest.recall is None or manifest.recall.at_1 < self.rules.min_recall):
            stated = f"{manifest.recall.at_1:.4f}" if manifest.recall else "not measured"
            raise BundleError(
                f"{manifest.bundle_id}: recall@1 against exact search is {stated}, this device requires {self.rules.min_recall}; "
                "build the bundle again with a larger graph, or lower push.min_recall on the device"
            )
