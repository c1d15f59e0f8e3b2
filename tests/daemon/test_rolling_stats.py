import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.daemon.rolling_stats import Latencies, Rate

S = 1_000_000_000


def test_a_rate_counts_the_occurrences_within_its_window():
    rate = Rate(window_s=10.0)
    for second in range(100):
        rate.add(second * S, 3)
    assert rate.per_s(99 * S) == pytest.approx(3.0)
    assert rate.per_s(200 * S) == 0.0


def test_a_rate_before_the_first_full_window_is_over_the_time_passed():
    rate = Rate(window_s=60.0)
    for tenth in range(40):
        rate.add(tenth * S // 10)
    assert rate.per_s(4 * S) == pytest.approx(10.0)


def test_a_rate_without_occurrences_is_zero():
    assert Rate().per_s(5 * S) == 0.0


def test_quantiles_are_by_stage_and_within_the_window():
    latencies = Latencies(window_s=10.0)
    for number in range(1, 101):
        latencies.add(0, "embed", float(number))
    latencies.add(9 * S, "locate", 4.0)
    assert latencies.quantiles(9 * S)["embed"].model_dump() == {"p50": 50.0, "p95": 95.0}
    assert latencies.quantiles(9 * S)["locate"].p95 == 4.0
    assert set(latencies.quantiles(15 * S)) == {"locate"}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=50))
def test_quantiles_are_measured_values_in_order(values):
    latencies = Latencies()
    for value in values:
        latencies.add(0, "x", float(value))
    found = latencies.quantiles(0)["x"]
    assert found.p50 in values
    assert found.p95 in values
    assert min(values) <= found.p50 <= found.p95 <= max(values)
