"""The index of a running daemon: opens releases with the overlay, changes them, and runs the trial of a new release.

A release on trial is healthy once this daemon has used it for ``trial_s`` without failing. A daemon that starts and finds an attempt on
record, by a daemon that neither completed the trial nor shut down cleanly, reverts to the last healthy release. The attempt is recorded
before the release is opened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.bundles.bundle import opening_limits
from edge.errors import BundleError, EdgeError
from edge.index import overlay, releases
from edge.index.audit import AuditReader
from edge.index.change import NewCard, OpenedIndex
from edge.index.loading import KnownOverlay, image_to_add, load_with_overlay
from edge.index.renewal import complete_renewal
from edge.index.signers import refuse_revoked
from edge.index.standing import Standing
from edge.index.trial import read_reverted, utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from edge.index.audit import AuditLine
    from edge.index.loading import BundleLoader
    from edge.index.overlay import Embed
    from edge.settings.sections import Settings
    from edge.vision.card import Locate

_log = logging.getLogger(__name__)

RELOADED: Final = {"index", "thresholds", "log"}
"""Sections of the settings that a reload applies; a change of any other takes effect at the next start."""

TRIAL_S: Final = 60.0
"""How long a daemon must use a release without failing before the release counts as healthy."""


class DeviceIndex:
    """The releases and the overlay below the index folder that the settings name.

    ``started`` are the settings the daemon started with; ``locate`` finds the card in a photo of a card to add. Only ``has_due_work``,
    ``stop`` and the methods that return ids or reports are fast; the others take seconds and must be called from one thread at a time, not
    from the daemon's loop.
    """

    def __init__(
        self,
        started: Settings,
        loader: BundleLoader,
        locate: Locate,
        *,
        trial_s: float = TRIAL_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._started = started
        self._settings = started
        self._loader = loader
        self._locate = locate
        self._trial_s = trial_s
        self._monotonic_s = monotonic_s
        self._audit = AuditReader()
        self._overlay = KnownOverlay()
        self._standing = Standing()
        self._loaded_state: tuple[str | None, str | None] = (None, None)
        self._healthy_at_s = self._confirm_by_s = inf

    def opening_s(self) -> float:
        """Return the time within which ``open_active`` ends, in seconds: that of the active release, and of the one it may revert to."""
        if not releases.is_root(self._root):
            return opening_limits(self._root).seconds
        found = releases.trial(self._root)
        names = [releases.CURRENT] if found is None else [releases.CURRENT, f"{releases.RELEASES}/{found.previous_id}"]
        return sum(opening_limits(self._root / name).seconds for name in names)

    def open_active(self) -> OpenedIndex:
        """Open the active release when the daemon starts; revert it first if it failed its trial. Raises ``BundleError``."""
        complete_renewal(self._root)
        self._revert_failed_trial()
        return self._load_active()

    def reload(self, settings: Settings) -> OpenedIndex:
        """Open the active release with new settings. Raises ``BundleError``; the previous settings then stay in use."""
        before, self._settings = self._settings, settings
        try:
            return self._load_active()
        except BaseException:
            self._settings = before
            raise

    def open(self, index_id: str | None = None) -> OpenedIndex:
        """Open an installed release (the active one for None) with the overlay. Raises ``BundleError``.

        A release that is not active is first checked, so that one that would end the process is refused.
        """
        root, settings, model_id = self._root, self._settings, self._loader.model_id
        if index_id is None:
            bundle = releases.open_index(root, expected_model_id=model_id)
        else:
            refuse_revoked(root, index_id, settings.push)
            releases.check_release(root, index_id, self._loader.check, expected_model_id=model_id)
            bundle = releases.open_release(root, index_id, expected_model_id=model_id)
        return load_with_overlay(root, bundle, settings, self._loader, waiting_settings(self._started, settings), self._overlay)

    def activate(self, index_id: str, confirm_within_s: float | None = None) -> None:
        """Make an installed release the active one and start its trial. Raises ``BundleError``, in which case nothing changes."""
        releases.activate(self._root, index_id, expected_model_id=self._loader.model_id, confirm_within_s=confirm_within_s)
        self._loaded_state = self._disk_state()
        self._start_trial(opening=False)
        self._standing.update(self._root, self._settings.push)

    def confirm(self, index_id: str) -> None:
        """Confirm the active release, so that it is not reverted. Raises ``BundleError``."""
        releases.confirm(self._root, index_id)

    def add(self, card: NewCard, embed: Embed) -> OpenedIndex:
        """Add a card to the overlay and open the active release with it. Raises ``DataError`` or ``BundleError``."""
        known = releases.open_index(self._root, expected_model_id=self._loader.model_id).gallery.cards
        image = image_to_add(card, known, self._locate)
        overlay.add_images(self._root, [image], self._loader.overlay_writer(embed), self._overlay.reader.rows)
        return self._load_active()

    def remove(self, card_id: str) -> OpenedIndex:
        """Remove a card from the overlay and open the active release without it. Raises ``DataError`` or ``BundleError``."""
        overlay.remove_card(self._root, card_id)
        return self._load_active()

    def has_due_work(self) -> bool:
        """Return whether a trial has ended, or another process has changed the active release or the overlay.

        Quick enough to be called several times a second.
        """
        now_s = self._monotonic_s()
        is_time = now_s >= self._healthy_at_s or now_s >= self._confirm_by_s
        return is_time or self._disk_state() != self._loaded_state or self._standing.is_outdated(self._root)

    def update_trial(self) -> OpenedIndex | None:
        """End an expired trial (keep or revert) and load a release or overlay that another process activated.

        Returns the index to use, None if it stays the same. Raises ``BundleError``.
        """
        before = self._loaded_state
        now_s, found = self._monotonic_s(), releases.trial(self._root)
        if found is not None and found.deadline is not None and now_s >= self._confirm_by_s:
            releases.revert(self._root, f"not confirmed within {found.confirm_within_s:g} s")
        elif found is not None and now_s >= self._healthy_at_s:
            releases.mark_healthy(self._root)
            _log.info("index %s is healthy", found.bundle_id)
        if now_s >= self._healthy_at_s:
            self._healthy_at_s = inf
        if now_s >= self._confirm_by_s:
            self._confirm_by_s = inf
        self._standing.update(self._root, self._settings.push)
        return self._load_active() if self._disk_state() != before else None

    def stop(self) -> None:
        """Record a clean shutdown, so that the trial is not counted as failed. A failure is logged."""
        try:
            releases.clear_attempts(self._root)
        except (EdgeError, OSError) as error:
            _log.warning("%s", error)

    def previous_id(self) -> str | None:
        """Return the id of the previous release, None if there is none. Raises ``BundleError``."""
        return releases.previous_id(self._root)

    def latest_id(self) -> str | None:
        """Return the id of the newest readable release that was not just reverted, None if there is none. Raises ``BundleError``."""
        last = read_reverted(self._root)
        readable = (release for release in releases.list_releases(self._root) if release.manifest is not None)
        return next((release.bundle_id for release in readable if last is None or release.bundle_id != last.bundle_id), None)

    def confirm_by(self) -> datetime | None:
        """Return when the active release is reverted unless it is confirmed, None if it needs no confirmation."""
        awaited = releases.awaiting_confirmation(self._root)
        return None if awaited is None else awaited.deadline

    def reverted(self) -> str | None:
        """Return which release was reverted and why, None once another release has become healthy."""
        last = read_reverted(self._root)
        return None if last is None else f"bundle {last.bundle_id} was reverted to {last.back_to_id}: {last.reason}"

    def warning(self) -> str | None:
        """Return why the active release should be replaced soon, None if it need not: it has expired, or its signer was revoked."""
        return self._standing.warning(utc_now())

    def last_push(self) -> AuditLine | None:
        """Return the newest line of the audit, None if there is none. Quick enough to be called for every frame."""
        return self._audit.last(self._root)

    @property
    def _root(self) -> Path:
        return self._settings.index.directory

    def _disk_state(self) -> tuple[str | None, str | None]:
        """Return what other processes may change: the id of the active release and the state of the overlay."""
        try:
            return releases.current_id(self._root), overlay.overlay_id(self._root)
        except (EdgeError, OSError):
            return None, None

    def _revert_failed_trial(self) -> None:
        found = releases.trial(self._root)
        if found is None:
            return
        if found.overdue(utc_now()):
            reason = f"not confirmed within {found.confirm_within_s:g} s"
        elif found.attempts:
            reason = f"the scanner failed or lost power while opening it or within {self._trial_s:g} s of loading it"
        else:
            return
        try:
            _log.error("reverted to index %s: %s", releases.revert(self._root, reason).back_to_id, reason)
        except BundleError:
            _log.exception("the release on trial cannot be reverted")

    def _load_active(self) -> OpenedIndex:
        """Open the active release; if it is on trial and cannot be loaded, revert it and open the last healthy one.

        The attempt is recorded before the release is opened: if opening it ends the process, the next start reverts it.
        """
        self._loaded_state = self._disk_state()
        self._start_trial(opening=True)
        try:
            opened = self.open()
        except Exception as error:
            if releases.trial(self._root) is None:
                raise
            reverted = releases.revert(self._root, f"it cannot be used: {error}")
            _log.exception("reverted to index %s", reverted.back_to_id)
            self._loaded_state = self._disk_state()
            self._start_trial(opening=True)
            opened = self.open()
        else:
            self._record_opened()
        self._standing.update(self._root, self._settings.push)
        return opened

    def _record_opened(self) -> None:
        """Start the trial's timer once the release is open."""
        found = releases.trial(self._root)
        if found is not None and found.opening:
            releases.record_opened(self._root)
            self._healthy_at_s = self._monotonic_s() + self._trial_s

    def _start_trial(self, *, opening: bool) -> None:
        """Record the attempt of this daemon and set the times at which the trial ends; continue a trial that is under way.

        ``opening``: the release is opened after this call, followed by ``_record_opened``.
        """
        found = releases.trial(self._root)
        if found is None:
            self._healthy_at_s = self._confirm_by_s = inf
            return
        now_s = self._monotonic_s()
        if not found.attempts and not found.healthy:
            releases.record_attempt(self._root, opening=opening)
            self._healthy_at_s = now_s + self._trial_s
        if found.deadline is not None and found.confirm_within_s is not None:
            left_s = (found.deadline - utc_now()).total_seconds()
            # if the wall clock was set back, wait no longer than was asked for
            self._confirm_by_s = now_s + min(max(left_s, 0.0), found.confirm_within_s)


def waiting_settings(started: Settings, now: Settings) -> tuple[str, ...]:
    """Return the dotted keys of settings that differ and are not applied by a reload."""
    before, after = (settings.model_dump(exclude=RELOADED) for settings in (started, now))
    return tuple(_differences(before, after))


def _differences(before: dict[str, object], after: dict[str, object], prefix: str = "") -> list[str]:
    found = []
    for key, value in before.items():
        other = after[key]
        if isinstance(value, dict) and isinstance(other, dict):
            found += _differences(value, other, f"{prefix}{key}.")
        elif value != other:
            found.append(prefix + key)
    return found
