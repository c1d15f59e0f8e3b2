"""MQTT brokers with one fault each. Each handles a single client at a time, on a free port of the loopback interface."""

import socket
import threading

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14


class FakeBroker:
    """Accepts connections until closed; subclasses define the answers. ``logins`` has the protocol level of every CONNECT packet."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.logins: list[int] = []
        self.published: list[tuple[str, bytes]] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join(5)

    def answer_login(self, connection: socket.socket, level: int) -> bool:
        """Answer a CONNECT packet; return whether to keep the connection."""
        raise NotImplementedError

    def answer_publish(self, connection: socket.socket, message_id: bytes) -> bool:
        connection.sendall(bytes([PUBACK << 4, 2]) + message_id)
        return True

    def answer_subscribe(self, message_id: bytes, count: int) -> bytes:
        properties = b"\0" if self.level == 5 else b""
        rest = message_id + properties + b"\x01" * count
        return bytes([SUBACK << 4, len(rest)]) + rest

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            try:
                while self._answer(connection):
                    pass
            except OSError:
                pass
            if self.closes:
                connection.close()

    closes = True

    def _answer(self, connection: socket.socket) -> bool:
        kind, flags, body = _read_packet(connection)
        if kind == CONNECT:
            self.level = body[2 + int.from_bytes(body[:2])]
            self.logins.append(self.level)
            return self.answer_login(connection, self.level)
        if kind == PUBLISH:
            length = int.from_bytes(body[:2])
            topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
            qos = flags >> 1 & 3
            self.published.append((topic, rest[2 if qos else 0 :][1 if self.level == 5 else 0 :]))
            return self.answer_publish(connection, rest[:2]) if qos else True
        if kind == SUBSCRIBE:
            connection.sendall(self.answer_subscribe(body[:2], body.count(b"\x01", 2)))
        elif kind == PINGREQ:
            connection.sendall(b"\xd0\x00")
        return kind != DISCONNECT


class OldBroker(FakeBroker):
    """Supports only MQTT 3.1.1 and refuses a version 5 login with the proper code."""

    def answer_login(self, connection, level):
        connection.sendall(bytes([CONNACK << 4, 2, 0, 0 if level == 4 else 1]))
        return level == 4


class MuteOldBroker(FakeBroker):
    """Supports only MQTT 3.1.1 and closes the connection on a version 5 login."""

    def answer_login(self, connection, level):
        if level == 4:
            connection.sendall(bytes([CONNACK << 4, 2, 0, 0]))
        return level == 4


class MixedUpOldBroker(FakeBroker):
    """Supports only MQTT 3.1.1 and answers a version 5 login with a 3.1.1 packet, which a version 5 client cannot decode."""

    def answer_login(self, connection, level):
        connection.sendall(bytes([CONNACK << 4, 2, 0, 0]))
        return level == 4


class SilentBroker(FakeBroker):
    """Accepts the connection and never answers the login."""

    closes = False

    def answer_login(self, connection, level):
        return False


class ForgetfulBroker(FakeBroker):
    """Accepts everything and never acknowledges a message."""

    def answer_login(self, connection, level):
        connection.sendall(bytes([CONNACK << 4, 2, 0, 0] if level == 4 else [CONNACK << 4, 3, 0, 0, 0]))
        return True

    def answer_publish(self, connection, message_id):
        return True


class FullBroker(FakeBroker):
    """Answers every event with ``Quota exceeded``, everything else with success."""

    def answer_login(self, connection, level):
        connection.sendall(bytes([CONNACK << 4, 3, 0, 0, 0]))
        return True

    def answer_publish(self, connection, message_id):
        reason = 0x97 if self.published[-1][0].endswith("/event") else 0
        connection.sendall(bytes([PUBACK << 4, 3]) + message_id + bytes([reason]))
        return True


class UndecodableBroker(FullBroker):
    """Answers a subscription with a packet that cannot be decoded."""

    def answer_subscribe(self, message_id, count):
        return bytes([SUBACK << 4, 4]) + message_id + b"\0\x55"


class TakenOverBroker(FullBroker):
    """Ends the session with the reason that another client connected with the same client id."""

    def answer_publish(self, connection, message_id):
        connection.sendall(bytes([DISCONNECT << 4, 1, 0x8E]))
        return False


class QosZeroBroker(FakeBroker):
    """Offers QoS 0 only."""

    def answer_login(self, connection, level):
        connection.sendall(bytes([CONNACK << 4, 5, 0, 0, 2, 0x24, 0]))
        return True


def _read_packet(connection: socket.socket) -> tuple[int, int, bytes]:
    first = _read(connection, 1)[0]
    length = shift = 0
    while True:
        byte = _read(connection, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first >> 4, first & 0x0F, _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data
