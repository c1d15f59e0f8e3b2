"""A bundle that recognizes worse is told from one that does not, with the counts that it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.index.activity import Tally
from edge.index.renames import Renames
from tests.receiving.scanner import day
from tools.fleet.file import GateRules
from tools.fleet.gate import difference_interval, judge

RULES = GateRules()


def tally(identified, uncertain=0, unknown=0, corrected=0, seconds=3600.0):
    return Tally(since=day(1), seconds=seconds, identified=identified, uncertain=uncertain, unknown=unknown, corrected=corrected)


@pytest.mark.parametrize(
    ("after", "verdict", "said"),
    [
        (tally(95, 2, 3), "passed", ""),
        (tally(60, 0, 40), "failed", "unknown: 40 of 100, before 50 of 1000"),
        (tally(70, 30, 0), "failed", "uncertain: 30 of 100, before 20 of 1000"),
        (tally(100, corrected=30), "failed", "corrected: 30 of 100, before 10 of 930"),
        (tally(3), "undecided", "unknown: 0 of 3"),
        (tally(0, 0, 1), "undecided", "unknown: 1 of 1"),  # one card of another game proves nothing
        (tally(0, 0, 19), "undecided", "unknown: 19 of 19"),
        (tally(0, 0, 20), "failed", "unknown: 20 of 20"),
        (tally(8, 0, 2), "undecided", "unknown: 2 of 10"),
        (tally(4000, seconds=600.0), "failed", "24000 events per hour, before 100"),
        (tally(100, seconds=36_000.0), "passed", ""),  # a quiet night is not the bundle's fault
        (None, "undecided", "unknown: 0 of 0"),
    ],
)
def test_shares_before_and_after_decide(after, verdict, said):
    before = tally(930, 20, 50, corrected=10, seconds=36_000.0)
    judgment = judge(before, after, None, RULES)
    assert judgment.verdict == verdict
    assert said in judgment.reason


def test_without_counts_from_before_nothing_is_decided():
    assert judge(None, tally(1000), None, RULES).verdict == "undecided"


def test_shuffled_names_need_no_card_at_all():
    judgment = judge(tally(0), tally(0), Renames(shared=100, renamed=98), RULES)
    assert (judgment.verdict, judgment.reason) == ("failed", "98 of 100 pictures get another name than before")
    assert judge(tally(500), tally(500), Renames(shared=100, renamed=3), RULES).verdict == "passed"


counts = st.integers(0, 500).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


@given(counts, counts)
def test_the_interval_contains_the_difference_and_turns_around(before, after):
    low, high = difference_interval(before, after)
    if before[1] and after[1]:
        difference = after[0] / after[1] - before[0] / before[1]
        assert -1.0001 <= low <= difference + 1e-9
        assert difference - 1e-9 <= high <= 1.0001
    assert difference_interval(after, before) == pytest.approx((-high, -low))


def test_the_interval_is_the_published_one():
    """Newcombe's example (a): 56 of 70 and 48 of 80, method 10: 0.0524 to 0.3339."""
    assert difference_interval((48, 80), (56, 70)) == pytest.approx((0.0524, 0.3339), abs=5e-5)
