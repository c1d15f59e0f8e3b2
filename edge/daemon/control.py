"""Commands over MQTT or from the page, and the state they change: pause, threshold, index, settings.

The daemon's loop calls this module between two frames; ``health`` alone it answers itself. Each command gets one reply; a command that
changes the index gets it when the change is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.daemon.add_request import new_card
from edge.daemon.announcer import Announcer
from edge.daemon.locator import CardLocator
from edge.daemon.supervision import Supervisor
from edge.errors import CommandError, EdgeError
from edge.index.change import IndexChanger, OpenedIndex
from edge.index.device_index import DeviceIndex
from edge.index.overlay import Embed
from edge.publishing.command import (
    ActivateIndexRequest,
    AddCardRequest,
    Command,
    ConfirmIndexRequest,
    CorrectRequest,
    EnabledRequest,
    InstallIndexRequest,
    ReloadRequest,
    RemoveCardRequest,
    RollbackIndexRequest,
    ScanRequest,
    ThresholdRequest,
)
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.settings.file import DEFAULT_SETTINGS_FILE, load_settings
from edge.tracking.tracker import Tracker

if TYPE_CHECKING:
    from datetime import datetime

    from edge.index.audit import AuditLine
    from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)


class CommandHandler:
    """Executes commands and holds the state they change. Used by the daemon's loop only.

    ``store`` holds the releases of this device; None in a replay, which keeps the index it started with. ``embed`` embeds the images of
    added cards. ``config`` is the settings file that a reload reads.
    """

    def __init__(
        self,
        locator: CardLocator,
        recognizer: Recognizer,
        tracker: Tracker,
        opened: OpenedIndex,
        announcer: Announcer,
        supervisor: Supervisor,
        *,
        embed: Embed,
        store: DeviceIndex | None = None,
        config: Path = DEFAULT_SETTINGS_FILE,
    ) -> None:
        self._locator = locator
        self._recognizer = recognizer
        self._tracker = tracker
        self._opened = opened
        self._announcer = announcer
        self._supervisor = supervisor
        self._embed = embed
        self._store = store
        self._config = config
        self._changer = IndexChanger()
        self._threshold: float | None = None
        self._changing_for: Command | None = None
        self._is_reloading = False
        self._published_progress: int | None = None
        self._published_push: AuditLine | None = None
        self.enabled = True
        self.index_problem: str | None = None
        self.newest_frame: RgbImage | None = None
        """Pixels of the newest frame, for ``index/add`` without an image."""

    @property
    def opened(self) -> OpenedIndex:
        """The index in use."""
        return self._opened

    @property
    def busy(self) -> bool:
        """Whether a change of the index is under way."""
        return self._changer.busy

    def problems(self) -> dict[str, str]:
        """Return the problems of the index by part: ``index`` and ``added cards``."""
        found = {"index": self._index_problem(), "added cards": self._opened.added_problem}
        return {part: problem for part, problem in found.items() if problem is not None}

    def publish_states(self) -> None:
        """Publish the states ``index`` and ``controls``."""
        previous_id, latest_id, confirm_by = self._release_state()
        self._published_progress, self._published_push = self._changer.progress, self._last_push()
        self._announcer.publish_index(
            self._opened,
            changing=self._changer.progress is not None,
            progress=self._changer.progress,
            problem=self._index_problem(),
            previous_id=previous_id,
            latest_id=latest_id,
            confirm_by=confirm_by,
            last_push=self._published_push,
        )
        self._announcer.publish_controls(enabled=self.enabled, threshold=self._recognizer.loaded.thresholds.min_verification)

    def execute(self, command: Command) -> dict[str, Any] | None:
        """Execute a command; return the data of the reply, or None if the reply follows later. Raises ``EdgeError``."""
        _log.info("command %s", command.name)
        match command.arguments:
            case ScanRequest():
                self._locator.forget_background()  # a scan covers everything in view
                self._announcer.forget_corrections()
                return {"cards": self._tracker.reset_decisions()}
            case CorrectRequest() as request:
                event = self._announcer.correct(request.event_id, self._known_card(request.card_id))
                return {"event": event.model_dump(mode="json", by_alias=True)}
            case EnabledRequest(enabled=enabled):
                self.enabled = enabled
                self.publish_states()
                return {"enabled": enabled}
            case ThresholdRequest(threshold=threshold):
                self._threshold = threshold
                self._use(self._opened)
                self.publish_states()
                return {"threshold": threshold}
            case ReloadRequest():
                self.begin_reload(command)
            case _:
                self._begin_index_change(command)
        return None

    def begin_reload(self, command: Command | None = None) -> None:
        """Start to read settings and index again; the present ones stay in use until that is done.

        Raises ``CommandError`` while a change of the index is under way, and in a replay.
        """
        store = self._require_store()
        self._begin(lambda: self._reload(store), command, progress=0)
        self._is_reloading = True
        self._supervisor.reloading()

    def check_trial(self) -> None:
        """Start to end an expired trial, or to load what another process activated or added, if there is any of it to do."""
        if self._store is not None and not self._changer.busy and self._store.has_due_work():
            self._changer.begin(self._store.update_trial)

    def finish_index_change(self) -> None:
        """Switch to the new index once it is ready, reply to the command that asked for it, and publish the outcome."""
        change = self._changer.finished()
        if change is None:
            if (self._changer.progress, self._last_push()) != (self._published_progress, self._published_push):
                self.publish_states()
            return
        command, self._changing_for = self._changing_for, None
        self.index_problem = self._use_new_index(change)
        if command is not None and self.index_problem is None:
            command.reply({"index_id": self._opened.loaded.index_id, "waiting_settings": list(self._opened.waiting_settings)})
        elif command is not None:
            command.refuse(self.index_problem or "")
        if self._is_reloading:
            self._is_reloading = False
            self._supervisor.ready()
        self.publish_states()

    def stop(self) -> None:
        """Record a clean shutdown, so that a release on trial is not counted as failed."""
        if self._store is not None:
            self._store.stop()

    def _known_card(self, card_id: str) -> Card:
        card = self._recognizer.loaded.gallery.cards.get(CardId(card_id))
        if card is None:
            text = f"correct: card_id: {card_id!r} is not in the index; search for it by name, or add it as a new card"
            raise CommandError(text, code="card_unknown")
        return card

    def _begin_index_change(self, command: Command) -> None:
        store, embed = self._require_store(), self._embed
        match command.arguments:
            case ActivateIndexRequest(index_id=index_id, confirm_within_s=confirm_within_s):
                self._begin(lambda: self._activate(store, index_id, confirm_within_s), command, progress=0)
            case RollbackIndexRequest():
                previous_id = _require_id(
                    store.previous_id(), CommandError("no bundle to go back to; see `cardedge index list`", code="no_previous")
                )
                self._begin(lambda: self._activate(store, previous_id), command, progress=0)
            case InstallIndexRequest():
                latest_id = _require_id(store.latest_id(), CommandError("no bundle is installed; push one first", code="none_installed"))
                self._begin(lambda: self._activate(store, latest_id), command, progress=0)
            case ConfirmIndexRequest() as request:
                confirmed_id = request.index_id or self._opened.loaded.index_id
                self._begin(lambda: store.confirm(confirmed_id), command)
            case AddCardRequest() as request:
                card = new_card(request, self.newest_frame)
                self._begin(lambda: store.add(card, embed), command)
            case RemoveCardRequest(card_id=card_id):
                self._begin(lambda: store.remove(card_id), command)
            case _:
                raise AssertionError(f"command {command.name} is declared but not implemented")

    def _begin(self, job: Callable[[], OpenedIndex | None], command: Command | None, *, progress: int | None = None) -> None:
        self._changer.begin(job, progress=progress)
        self._changing_for = command
        self.publish_states()

    def _activate(self, store: DeviceIndex, index_id: str, confirm_within_s: float | None = None) -> OpenedIndex:
        """Open a release, and make it the active one if that succeeds. Runs in the thread of the change."""
        opened = store.open(index_id)
        self._changer.progress = 60
        store.activate(index_id, confirm_within_s)
        self._changer.progress = 95
        return opened

    def _reload(self, store: DeviceIndex) -> OpenedIndex:
        """Read the settings and open the active release by them. Runs in the thread of the change."""
        settings = load_settings(self._config)
        opened = store.reload(settings)
        logging.getLogger().setLevel(settings.log.level.upper())
        return opened

    def _use_new_index(self, change: Future[OpenedIndex | None]) -> str | None:
        """Switch to the index that the change has opened, if any. Return the error message if the change failed."""
        try:
            opened = change.result()
        except EdgeError as error:
            _log.error("the index stays as it is: %s", error)
            return str(error)
        except Exception as error:  # noqa: BLE001 - a bug in loading must not end the daemon
            _log.exception("the index stays as it is")
            return f"a bug: {type(error).__name__}: {error}"
        if opened is None:
            return None
        self._use(opened)
        for key in opened.waiting_settings:
            _log.warning("%s changed; the new value takes effect at the next start", key)
        _log.info("index %s (%s) is in use", opened.loaded.index_id, opened.manifest.name)
        return None

    def _use(self, opened: OpenedIndex) -> None:
        """Recognize with an index, under the threshold set by command if any, and check the cards in view again."""
        self._opened = opened
        loaded = opened.loaded
        if self._threshold is not None:
            uncertain = min(self._threshold, loaded.thresholds.uncertain_verification)
            thresholds = replace(loaded.thresholds, min_verification=self._threshold, uncertain_verification=uncertain)
            loaded = replace(loaded, thresholds=thresholds)
        self._recognizer.swap(loaded)
        self._tracker.force_recheck()

    def _require_store(self) -> DeviceIndex:
        if self._store is None:
            raise CommandError("a replay keeps the index it started with")
        return self._store

    def _index_problem(self) -> str | None:
        return self.index_problem or (self._store.reverted() or self._store.warning() if self._store else None)

    def _last_push(self) -> AuditLine | None:
        return self._store.last_push() if self._store else None

    def _release_state(self) -> tuple[str | None, str | None, datetime | None]:
        """Return the previous and the newest release, and when the active one must be confirmed; None where unknown or not applicable."""
        if self._store is None:
            return None, None, None
        try:
            return self._store.previous_id(), self._store.latest_id(), self._store.confirm_by()
        except (EdgeError, OSError) as error:
            _log.warning("%s", error)
            return None, None, None


def _require_id(index_id: str | None, otherwise: CommandError) -> str:
    if index_id is None:
        raise otherwise
    return index_id
