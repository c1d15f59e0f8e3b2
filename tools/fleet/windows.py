"""Hours in which bundles may be changed: ``Mon-Fri 20:00-07:00``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM: Final = re.compile(r"(?:(?P<days>[A-Za-z,-]+) )?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week, numbered from Monday. Minutes count from midnight; an end before the begin is on the next day."""

    days: frozenset[int]
    begin_min: int
    end_min: int

    def contains(self, at: datetime) -> bool:
        """Return whether ``at`` (local time) is in the window."""
        return any(begin <= at < end for begin, end in self._around(at))

    def next_begin(self, at: datetime) -> datetime:
        """Return when the window begins the next time after ``at``."""
        return min(begin for begin, _ in self._around(at) if begin > at)

    def _around(self, at: datetime) -> list[tuple[datetime, datetime]]:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        length_min = (self.end_min - self.begin_min) % (24 * 60) or 24 * 60
        days = (midnight + timedelta(days=offset) for offset in range(-1, 9))
        begins = [day + timedelta(minutes=self.begin_min) for day in days if day.weekday() in self.days]
        return [(begin, begin + timedelta(minutes=length_min)) for begin in begins]


def parse_window(text: str) -> Window:
    """Return the window in ``text``. Raises ``ValueError`` that says what is expected."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a window like 'Mon-Fri 20:00-07:00' or '22:00-06:00'")
    return Window(_days(found["days"], text), _minutes(found["from"], text), _minutes(found["to"], text) % (24 * 60))


def _days(text: str | None, where: str) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        names = [name.capitalize() for name in part.split("-")]
        if len(names) > 2 or not set(names) <= set(DAYS):
            raise ValueError(f"{where!r}: {part!r} is not a day or a range of {', '.join(DAYS)}")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        days |= {number % 7 for number in range(first, last + 1 if last >= first else last + 8)}
    return frozenset(days)


def _minutes(text: str, where: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if hours > 24 or minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(f"{where!r}: {text} is not a time of day")
    return hours * 60 + minutes
