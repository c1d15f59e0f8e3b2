"""Processor time per identified card and per idle minute."""

import pytest

from edge.daemon.processor_use import WINDOW_S, ProcessorUse

S = 1_000_000_000


def test_nothing_is_known_at_first():
    use = ProcessorUse()
    assert use.seconds() == {}
    use.add(0, 5.0, recognized=0, identified=0)
    assert use.seconds() == {}


def test_idle_time_and_identified_cards_are_told_apart():
    use = ProcessorUse()
    use.add(0, 5.0, recognized=0, identified=0)
    use.add(30 * S, 6.5, recognized=0, identified=0)  # idle: 1.5 s in half a minute
    use.add(40 * S, 9.5, recognized=12, identified=2)  # 3 s for two cards
    use.add(70 * S, 10.0, recognized=12, identified=2)  # idle: 0.5 s in half a minute
    assert use.seconds() == {"per_identified_card": pytest.approx(1.5), "per_idle_minute": pytest.approx(2.0)}


def test_cards_that_are_refused_cost_the_identified_ones():
    use = ProcessorUse()
    use.add(0, 0.0, recognized=0, identified=0)
    use.add(10 * S, 4.0, recognized=9, identified=0)
    assert use.seconds() == {}
    use.add(20 * S, 6.0, recognized=10, identified=1)
    assert use.seconds() == {"per_identified_card": pytest.approx(6.0)}


def test_calls_within_a_second_are_one_sample():
    use = ProcessorUse()
    use.add(0, 0.0, recognized=0, identified=0)
    use.add(S // 2, 0.3, recognized=1, identified=1)
    assert use.seconds() == {}
    use.add(S, 0.5, recognized=1, identified=1)
    assert use.seconds() == {"per_identified_card": pytest.approx(0.5)}


def test_what_is_older_than_an_hour_is_forgotten():
    use = ProcessorUse()
    use.add(0, 0.0, recognized=0, identified=0)
    use.add(S, 9.0, recognized=1, identified=1)
    use.add(round((WINDOW_S + 2) * S), 9.5, recognized=1, identified=1)
    assert set(use.seconds()) == {"per_idle_minute"}
