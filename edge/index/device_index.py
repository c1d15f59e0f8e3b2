"""The device's bundles as the running daemon changes them: under the folder the settings name, with the thresholds the settings set.

A release on trial is proven when this daemon has served it for ``trial_s`` without failing. A daemon that finds it tried already, by one
that neither proved it nor stopped in good order, takes it for the culprit and goes back to the last proven release.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.errors import BundleError, EdgeError
from edge.index import overlay, releases
from edge.index.audit import AuditReader
from edge.index.change import NewCard, OpenedIndex
from edge.index.loading import image_to_add, load_with_overlay
from edge.index.trial import utc_now

if TYPE_CHECKING:
    from edge.index.audit import AuditLine
    from edge.index.loading import BundleLoader
    from edge.index.overlay import Embed
    from edge.settings.sections import Settings

_log = logging.getLogger(__name__)

RELOADED: Final = {"index", "thresholds", "log"}
"""Sections that a reload applies; a change of any other waits for the next start."""

TRIAL_S: Final = 60.0


class DeviceIndex:
    """Implements ``edge.index.change.IndexStore``.

    ``started`` are the settings the daemon began with; ``loading`` makes a bundle ready to be asked.
    """

    def __init__(
        self,
        started: Settings,
        loading: BundleLoader,
        *,
        trial_s: float = TRIAL_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._started = started
        self._settings = started
        self._loading = loading
        self._trial_s = trial_s
        self._monotonic_s = monotonic_s
        self._audit = AuditReader()
        self._seen: tuple[str | None, str | None] = (None, None)
        self._proven_at_s = self._confirmed_by_s = inf

    def open_active(self) -> OpenedIndex:
        """Open the active bundle by the settings in use, at the start: a release that failed its last try is left first."""
        self._settle_last_try()
        return self._take_current()

    def reload(self, settings: Settings) -> OpenedIndex:
        """Open the active bundle by settings that were read again; if that fails, keep the settings in use. Raises ``BundleError``."""
        before, self._settings = self._settings, settings
        try:
            return self._take_current()
        except BaseException:
            self._settings = before
            raise

    def open(self, index_id: str) -> OpenedIndex:
        """Open an installed bundle."""
        return self._opened(index_id)

    def activate(self, index_id: str, confirm_within_s: float | None = None) -> None:
        """Make an installed bundle the active one, and begin its trial."""
        releases.activate(self._root, index_id, expected_model_id=self._loading.model_id, confirm_within_s=confirm_within_s)
        self._seen = self._changeable()
        self._begin_trial()

    def confirm(self, index_id: str) -> None:
        """Say that the active bundle shall stay."""
        releases.confirm(self._root, index_id)

    def add(self, card: NewCard, embed: Embed) -> OpenedIndex:
        """Add a card to the overlay and open the active bundle with it."""
        known = releases.open_index(self._root, expected_model_id=self._loading.model_id).gallery.cards
        picture = image_to_add(card, known, self._settings.locate.settings())
        overlay.add_images(self._root, [picture], self._loading.overlay_writer(embed))
        return self._take_current()

    def remove(self, card_id: str) -> OpenedIndex:
        """Remove a card from the overlay and open the active bundle without it."""
        overlay.remove_card(self._root, card_id, self._loading.write_graph)
        return self._take_current()

    def has_due_work(self) -> bool:
        """Say whether a trial ends, or another process has changed which release or which added cards shall serve."""
        now_s = self._monotonic_s()
        return now_s >= self._proven_at_s or now_s >= self._confirmed_by_s or self._changeable() != self._seen

    def update_trial(self) -> OpenedIndex | None:
        """Prove or revert the release on trial when its time has come; open what others made current."""
        before = self._seen
        now_s, found = self._monotonic_s(), releases.trial(self._root)
        if found is not None and found.deadline is not None and now_s >= self._confirmed_by_s:
            releases.revert(self._root, f"nobody confirmed it within {found.confirm_within_s:g} s")
        elif found is not None and now_s >= self._proven_at_s:
            releases.mark_healthy(self._root)
            _log.info("index %s is proven", found.bundle_id)
        if now_s >= self._proven_at_s:
            self._proven_at_s = inf
        if now_s >= self._confirmed_by_s:
            self._confirmed_by_s = inf
        return self._take_current() if self._changeable() != before else None

    def stop(self) -> None:
        """Note that the daemon stops in good order: what is on trial is not to blame."""
        try:
            releases.clear_attempts(self._root)
        except EdgeError as error:
            _log.warning("%s", error)

    def previous_id(self) -> str | None:
        """Return the bundle used before."""
        return releases.previous_id(self._root)

    def latest_id(self) -> str | None:
        """Return the newest installed bundle that can be read and was not just reverted."""
        gone = releases.reverted(self._root)
        offered = (release for release in releases.list_releases(self._root) if release.manifest is not None)
        return next((release.bundle_id for release in offered if gone is None or release.bundle_id != gone.bundle_id), None)

    def reverted(self) -> str | None:
        """Say which bundle was left again by itself and why."""
        gone = releases.reverted(self._root)
        return None if gone is None else f"bundle {gone.bundle_id} was reverted, {gone.back_to_id} serves: {gone.reason}"

    def last_push(self) -> AuditLine | None:
        """Return the newest line of the audit; the file is read when it has changed."""
        return self._audit.last(self._root)

    @property
    def _root(self) -> Path:
        return self._settings.index.directory

    def _changeable(self) -> tuple[str | None, str | None]:
        """Return what other processes may change: the current release and the generation of the added cards."""
        try:
            return releases.current_id(self._root), overlay.overlay_id(self._root)
        except (EdgeError, OSError):
            return None, None

    def _settle_last_try(self) -> None:
        found = releases.trial(self._root)
        if found is None:
            return
        if found.overdue(utc_now()):
            reason = f"nobody confirmed it within {found.confirm_within_s:g} s"
        elif found.attempts:
            reason = f"the scanner failed or lost power within {self._trial_s:g} s of serving it"
        else:
            return
        try:
            _log.error("going back to index %s: %s", releases.revert(self._root, reason).back_to_id, reason)
        except BundleError:
            _log.exception("the release on trial cannot be left")

    def _take_current(self) -> OpenedIndex:
        """Open the current release; one on trial that cannot be used is left for the last proven one."""
        self._seen = self._changeable()
        try:
            opened = self._opened(None)
        except Exception as error:
            if releases.trial(self._root) is None:
                raise
            gone = releases.revert(self._root, f"it cannot be used: {error}")
            _log.exception("going back to index %s", gone.back_to_id)
            self._seen = self._changeable()
            opened = self._opened(None)
        self._begin_trial()
        return opened

    def _begin_trial(self) -> None:
        """Note that we serve what is on trial, and when its time is over; a trial that we began goes on."""
        found = releases.trial(self._root)
        if found is None:
            self._proven_at_s = self._confirmed_by_s = inf
            return
        now_s = self._monotonic_s()
        if not found.attempts and not found.healthy:
            releases.record_attempt(self._root)
            self._proven_at_s = now_s + self._trial_s
        if found.deadline is not None and found.confirm_within_s is not None:
            left_s = (found.deadline - utc_now()).total_seconds()
            # the wall clock may have jumped; it never grants more than was asked for
            self._confirmed_by_s = now_s + min(max(left_s, 0.0), found.confirm_within_s)

    def _opened(self, index_id: str | None) -> OpenedIndex:
        """Open a release, the current one for None, with the cards that were added."""
        root, settings, model_id = self._root, self._settings, self._loading.model_id
        if index_id is None:
            bundle = releases.open_index(root, expected_model_id=model_id)
        else:
            bundle = releases.open_release(root, index_id, expected_model_id=model_id)
        return load_with_overlay(root, bundle, settings, self._loading, waiting_settings(self._started, settings))


def waiting_settings(started: Settings, now: Settings) -> tuple[str, ...]:
    """Return the dotted keys that differ and that only a restart applies."""
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
