"""The row delivery, with so few events that its figures mean nothing."""

from tests.support.mosquitto import needs_mosquitto
from tools.benchmarks import delivery
from tools.endurance.processes import mosquitto


@needs_mosquitto
def test_events_are_delivered_with_and_without_a_broker_that_may_be_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "ROUNDS", 1)
    monkeypatch.setattr(delivery, "PUBLISHED", 10)
    figures = delivery.measure_delivery(tmp_path)
    assert figures.safe_us > 0
    assert figures.ratios == (figures.safe_us / figures.unsafe_us,)
    assert list(tmp_path.iterdir()) == []


@needs_mosquitto
def test_only_the_interval_of_the_installed_settings_is_replaced(tmp_path):
    lines = []
    for interval in (None, 1800):
        mosquitto(tmp_path, 1883, autosave_s=interval)
        lines.append((tmp_path / "mosquitto.conf").read_text().splitlines())
    assert set(lines[0]) - set(lines[1]) == {"autosave_interval 5"}
    assert set(lines[1]) - set(lines[0]) == {"autosave_interval 1800"}
