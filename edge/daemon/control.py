"""What can be changed while the daemon runs: pause, threshold, index and settings; by commands over MQTT or by a signal.

Everything here happens between two frames. Each command is answered once; one that changes the index when the change is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge.daemon.add_request import wanted_card
from edge.daemon.announcer import Announcer
from edge.daemon.supervision import Supervisor
from edge.errors import CommandError, EdgeError
from edge.index.audit import AuditLine
from edge.index.change import IndexChanger, OpenedIndex
from edge.publishing.command import (
    ActivateIndexRequest,
    AddCardRequest,
    Command,
    ConfirmIndexRequest,
    CorrectRequest,
    EnabledRequest,
    HealthRequest,
    InstallIndexRequest,
    ReloadRequest,
    RemoveCardRequest,
    RollbackIndexRequest,
    ScanRequest,
    ThresholdRequest,
)
from edge.publishing.state import HealthState
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.tracking.tracker import Tracker

if TYPE_CHECKING:
    from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)


class CommandHandler:
    """Holds what commands change, and carries them out. Used by the daemon's loop only."""

    def __init__(
        self,
        recognizer: Recognizer,
        tracker: Tracker,
        opened: OpenedIndex,
        changer: IndexChanger,
        announcer: Announcer,
        supervisor: Supervisor,
    ) -> None:
        self._recognizer = recognizer
        self._tracker = tracker
        self._opened = opened
        self._changer = changer
        self._announcer = announcer
        self._supervisor = supervisor
        self._threshold: float | None = None
        self._changing_for: Command | None = None
        self._reload_under_way = False
        self._shown_progress: int | None = None
        self._shown_push: AuditLine | None = None
        self.enabled = True
        self.index_problem: str | None = None
        self.newest: RgbImage | None = None
        """The newest frame, for whoever wants to add the card it shows."""

    @property
    def opened(self) -> OpenedIndex:
        """The index in use."""
        return self._opened

    def show(self) -> None:
        """Publish the states that tell of controls and index."""
        previous_id, latest_id = self._changer.ids()
        self._shown_progress, self._shown_push = self._changer.progress, self._changer.last_push()
        self._announcer.show_index(
            self._opened,
            changing=self._changer.progress is not None,
            progress=self._changer.progress,
            problem=self.index_problem or self._changer.reverted(),
            previous_id=previous_id,
            latest_id=latest_id,
            last_push=self._shown_push,
        )
        self._announcer.show_controls(enabled=self.enabled, threshold=self._recognizer.loaded.thresholds.min_verification)

    def carry_out(self, command: Command, health: Callable[[], HealthState]) -> None:
        """Carry out one command. What cannot be done is refused with the reason."""
        _log.log(logging.DEBUG if isinstance(command.arguments, HealthRequest) else logging.INFO, "command %s", command.name)
        try:
            answer = self._do(command, health)
        except EdgeError as error:
            command.refuse(str(error))
        else:
            if answer is not None:
                command.reply(answer)

    def begin_reload(self, command: Command | None = None) -> None:
        """Read settings and index again; the present ones serve until that is done. Raises ``CommandError`` while a change is under way."""
        self._begin(self._changer.begin_reload, command)
        self._reload_under_way = True
        self._supervisor.reloading()

    @property
    def busy(self) -> bool:
        """Whether the index is being changed."""
        return self._changer.busy

    def problems(self) -> dict[str, str]:
        """Return what is wrong with the index, by part."""
        found = {"index": self.index_problem or self._changer.reverted(), "added cards": self._opened.added_problem}
        return {part: problem for part, problem in found.items() if problem is not None}

    def tend(self) -> None:
        """Take up what is due: the end of a trial, a bundle or a card that another process has put in place."""
        self._changer.begin_tending()

    def stop(self) -> None:
        """Note that the daemon stops in good order."""
        self._changer.stop()

    def attend(self) -> None:
        """Swap to the new index, if one has become ready, and publish how the change went."""
        change = self._changer.finished()
        if change is None:
            if (self._changer.progress, self._changer.last_push()) != (self._shown_progress, self._shown_push):
                self.show()
            return
        command, self._changing_for = self._changing_for, None
        self.index_problem = self._settle(change)
        if command is not None and self.index_problem is None:
            command.reply({"index_id": self._opened.loaded.index_id, "waiting_settings": list(self._opened.waiting_settings)})
        elif command is not None:
            command.refuse(self.index_problem or "")
        if self._reload_under_way:
            self._reload_under_way = False
            self._supervisor.ready()
        self.show()

    def _do(self, command: Command, health: Callable[[], HealthState]) -> dict[str, Any] | None:
        """Return the answer, or None when it comes later."""
        match command.arguments:
            case ScanRequest():
                self._announcer.decide_afresh()
                return {"cards": self._tracker.decide_afresh()}
            case CorrectRequest() as request:
                event = self._announcer.correct(request.event_id, self._known_card(request.card_id))
                return {"event": event.model_dump(mode="json", by_alias=True)}
            case EnabledRequest(enabled=enabled):
                self.enabled = enabled
                self.show()
                return {"enabled": enabled}
            case ThresholdRequest(threshold=threshold):
                self._threshold = threshold
                self._use(self._opened)
                self.show()
                return {"threshold": threshold}
            case HealthRequest():
                return health().model_dump(mode="json", by_alias=True)
            case ReloadRequest():
                self.begin_reload(command)
            case _:
                self._begin(self._index_change(command), command)
        return None

    def _known_card(self, card_id: str) -> Card:
        card = self._recognizer.loaded.gallery.cards.get(CardId(card_id))
        if card is None:
            raise CommandError(f"correct: card_id: {card_id!r} is not in the index; search for it by name, or add it as a new card")
        return card

    def _index_change(self, command: Command) -> Callable[[], None]:
        """Return what begins the change of the index that a command wants."""
        changer = self._changer
        match command.arguments:
            case ActivateIndexRequest(index_id=index_id, confirm_within_s=confirm_within_s):
                return lambda: changer.begin_activate(index_id, confirm_within_s)
            case ConfirmIndexRequest(index_id=index_id):
                return lambda: changer.begin_confirm(index_id)
            case AddCardRequest() as request:
                return lambda: changer.begin_add(wanted_card(request, self.newest))
            case RemoveCardRequest(card_id=card_id):
                return lambda: changer.begin_remove(card_id)
            case RollbackIndexRequest():
                return lambda: changer.begin_activate(changer.previous_id())
            case InstallIndexRequest():
                return lambda: changer.begin_activate(changer.latest_id())
            case _:
                raise AssertionError(f"command {command.name} is declared and not carried out")

    def _begin(self, begin: Callable[[], None], command: Command | None) -> None:
        begin()
        self._changing_for = command
        self.show()

    def _settle(self, change: Future[OpenedIndex | None]) -> str | None:
        """Use the new index; return what went wrong if there is none."""
        try:
            opened = change.result()
        except EdgeError as error:
            _log.error("the index stays as it is: %s", error)
            return str(error)
        except Exception as error:  # noqa: BLE001 - a bug in loading must not end what serves
            _log.exception("the index stays as it is")
            return f"a bug: {type(error).__name__}: {error}"
        if opened is None:
            return None
        self._use(opened)
        for waiting in opened.waiting_settings:
            _log.warning("%s changed; it takes effect at the next start", waiting)
        _log.info("index %s (%s) serves", opened.loaded.index_id, opened.manifest.name)
        return None

    def _use(self, opened: OpenedIndex) -> None:
        """Serve from an index, under the threshold a person has set, and look at the cards in view again."""
        self._opened = opened
        loaded = opened.loaded
        if self._threshold is not None:
            uncertain = min(self._threshold, loaded.thresholds.uncertain_verification)
            thresholds = replace(loaded.thresholds, min_verification=self._threshold, uncertain_verification=uncertain)
            loaded = replace(loaded, thresholds=thresholds)
        self._recognizer.swap(loaded)
        self._tracker.force_recheck()
