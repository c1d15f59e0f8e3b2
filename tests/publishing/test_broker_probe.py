"""The broker check of the diagnostics, with sessions that answer by a script."""

import pytest

from edge.errors import BrokerError
from edge.publishing.broker_probe import probe_broker
from edge.publishing.broker_session import Acknowledged, Closed, CloseKind, Opened

OPENED = Opened(max_packet_bytes=None, receive_maximum=20)


class ScriptedSession:
    """Returns one event per step, then none; records the calls in ``done``."""

    def __init__(self, *script):
        self.script = list(script)
        self.done = []

    def connect(self):
        self.done.append("connect")

    def step(self, timeout_s, wake):
        return (self.script.pop(0),) if self.script else ()

    def publish(self, topic, payload, *, qos, retain):
        self.done.append(f"publish {topic} qos {qos} retain {retain}")
        return 1

    def leave(self):
        self.done.append("leave")

    def abandon(self):
        self.done.append("abandon")


def probe(sessions, protocol="auto", timeout_s=0.2):
    """Probe a broker that has one scripted session per protocol version; return the result."""
    return probe_broker(lambda version: sessions[version], protocol=protocol, topic="t/reply/check", timeout_s=timeout_s)


def test_a_good_broker_gets_one_message_and_a_clean_disconnect():
    session = ScriptedSession(OPENED, Acknowledged(1, None))
    assert probe({"5": session}) == "MQTT 5: connected, logged in, a message to t/reply/check was acknowledged"
    assert session.done == ["connect", "publish t/reply/check qos 1 retain False", "leave", "abandon"]


@pytest.mark.parametrize("kind", [CloseKind.REFUSED_PROTOCOL, CloseKind.UNREADABLE, CloseKind.LOST, CloseKind.SILENT])
def test_a_broker_without_mqtt_5_is_tried_again_with_3_1_1(kind):
    answer = probe({"5": ScriptedSession(Closed(kind, "no")), "3.1.1": ScriptedSession(OPENED, Acknowledged(1, None))})
    assert answer.startswith("MQTT 3.1.1: ")


def test_a_refused_login_is_not_tried_again():
    with pytest.raises(BrokerError, match="wrong password"):
        probe({"5": ScriptedSession(Closed(CloseKind.REFUSED_LOGIN, "wrong password"))})


def test_a_protocol_that_is_set_is_the_only_one_tried():
    with pytest.raises(BrokerError, match="no version 5"):
        probe({"5": ScriptedSession(Closed(CloseKind.REFUSED_PROTOCOL, "no version 5"))}, protocol="5")
    assert probe({"3.1.1": ScriptedSession(OPENED, Acknowledged(1, None))}, protocol="3.1.1").startswith("MQTT 3.1.1")


def test_a_refused_message_names_the_access_list():
    with pytest.raises(BrokerError, match=r"t/reply/check was refused \(Not authorized\); check the broker's access list"):
        probe({"5": ScriptedSession(OPENED, Acknowledged(1, "Not authorized"))})


def test_a_connection_that_ends_at_the_first_message_is_reported():
    with pytest.raises(BrokerError, match="the connection ended at the first message: gone"):
        probe({"5": ScriptedSession(OPENED, Closed(CloseKind.LOST, "gone"))}, protocol="5")


def test_a_silent_broker_ends_the_probe_after_the_timeout():
    session = ScriptedSession()
    with pytest.raises(BrokerError, match=r"did not answer within 0\.2 s"):
        probe({"5": session}, protocol="5")
    assert session.done == ["connect", "abandon"]


def test_a_session_that_cannot_connect_is_abandoned():
    class Unreachable(ScriptedSession):
        def connect(self):
            raise BrokerError("unreachable")

    session = Unreachable()
    with pytest.raises(BrokerError, match="unreachable"):
        probe({"5": session})
    assert session.done == ["abandon"]
