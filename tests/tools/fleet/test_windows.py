"""Hours in which bundles may be changed."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.fleet.windows import parse_window

MONDAY = datetime.fromisoformat("2026-11-23")
YEAR = (MONDAY - timedelta(days=365), MONDAY)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", ["Mon 22:00", "Tue 05:59", "Mon 00:00"], ["Mon 06:00", "Mon 21:59"]),
        ("Mon-Fri 20:00-07:00", ["Fri 23:00", "Sat 06:59", "Mon 20:00"], ["Sat 07:00", "Sat 20:00", "Mon 06:00"]),
        ("Sat,Sun 00:00-24:00", ["Sat 00:00", "Sun 23:59"], ["Fri 23:59", "Mon 00:00"]),
        ("fri-mon 12:00-13:00", ["Fri 12:00", "Mon 12:59", "Sun 12:30"], ["Tue 12:00", "Mon 13:00"]),
    ],
)
def test_a_window_has_days_and_hours(text, inside, outside):
    window = parse_window(text)
    assert [moment for moment in inside if not window.contains(at(moment))] == []
    assert [moment for moment in outside if window.contains(at(moment))] == []


def at(text):
    day, time = text.split()
    hours, minutes = map(int, time.split(":"))
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun").index(day)
    return MONDAY + timedelta(days=days, hours=hours, minutes=minutes)


@pytest.mark.parametrize("text", ["", "22-06", "Mon 25:00-26:00", "Mox 22:00-06:00", "Mon-Tue-Wed 22:00-06:00", "22:60-23:00"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"window|day|time"):
        parse_window(text)


@given(st.datetimes(*YEAR), st.sampled_from(["22:00-06:00", "Tue 01:00-01:30", "Mon-Fri 20:00-07:00"]))
def test_the_next_begin_is_a_begin(moment, text):
    window = parse_window(text)
    begin = window.next_begin(moment)
    assert moment < begin <= moment + timedelta(days=7, minutes=1)
    assert window.contains(begin)
    assert not window.contains(begin - timedelta(microseconds=1))
