"""Uploaded images are identified, or refused with a reason."""

import io
import socket
import struct
import zlib
from contextlib import ExitStack, suppress

import httpx
import pytest
from PIL import Image

from edge.errors import ImageError
from edge.identification.answer import ImageAnswer
from edge.identification.images import IdentifyOptions
from edge.web.uploads import MAX_OPEN, PER_MINUTE, RefusedError, UploadIdentifier
from tests.support.small_scanner import on_table
from tests.web.served import serve, until


@pytest.fixture(scope="module")
def identifying(tmp_path_factory, query_context):
    with serve(tmp_path_factory.mktemp("page"), query_context, max_upload_mb=2) as served:
        yield served


def encoded(pixels, kind="JPEG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return content.getvalue()


def bomb(side=20_000):
    """A PNG of 400 megapixels in a few hundred bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_photo_is_answered_like_the_identify_command(identifying, small_scanner):
    card_id, card = next(iter(small_scanner.images.items()))
    answer = identifying.client.post("/api/identify", content=encoded(on_table(card)))
    assert answer.status_code == 200
    found = ImageAnswer.model_validate(answer.json())
    assert [shown.card_id for shown in found.cards] == [card_id]
    assert (found.width, found.height) == (1280, 720)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_scan_of_one_card_is_identified(identifying, small_scanner, kind):
    card_id, card = next(iter(small_scanner.images.items()))
    answer = identifying.client.post("/api/identify?rectified=1", content=encoded(card, kind)).json()
    assert answer["cards"][0]["card_id"] == card_id


def test_an_unknown_card_is_not_named(identifying, small_scanner):
    answer = identifying.client.post("/api/identify?rectified=1", content=encoded(small_scanner.unknown_card)).json()
    assert answer["cards"][0]["card_id"] is None


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"", 422, "empty"),
        (b"no picture at all", 422, "format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", 422, "format"),
        (bomb(), 422, "megapixels"),
        (bomb(5500), 422, "megapixels"),
        (bytes(2_000_001), 413, "2 MB"),
        (b"\xff\xd8\xff\xe0" + bytes(100), 422, "image"),
    ],
    ids=["empty", "text", "a program", "bomb", "too many pixels", "too many bytes", "a broken header"],
)
def test_an_unusable_file_is_refused_with_a_reason(identifying, content, status, expected):
    answer = identifying.client.post("/api/identify", content=content)
    assert answer.status_code == status
    assert expected in answer.json()["error"]


def test_a_truncated_image_is_refused(identifying, small_scanner):
    whole = encoded(on_table(next(iter(small_scanner.images.values()))), "PNG")
    for part in (0.2, 0.5, 0.9):
        answer = identifying.client.post("/api/identify", content=whole[: int(part * len(whole))])
        assert answer.status_code == 422
        assert "damaged" in answer.json()["error"]


def test_an_upload_without_a_length_is_cut_off(identifying):
    taken = []

    def pieces():
        for place in range(1000):
            taken.append(place)
            yield bytes(100_000)

    with suppress(httpx.TransportError):  # the connection may end before the response is read
        assert identifying.client.post("/api/identify", content=pieces()).status_code == 413
    assert len(taken) < 1000


def test_unfinished_uploads_are_counted_before_their_bodies_are_received(identifying, small_scanner):
    head = b"POST /api/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000000\r\n\r\n"
    statuses = []
    with ExitStack() as open_uploads:
        for _ in range(3 * MAX_OPEN):
            client = open_uploads.enter_context(socket.create_connection(("127.0.0.1", identifying.server.port), timeout=3.0))
            client.sendall(head + bytes(1000))
            if len(statuses) < MAX_OPEN:
                client.settimeout(0.3)
            with suppress(TimeoutError):
                statuses.append(client.recv(1000).split(b" ")[1])
                continue
            statuses.append(None)
    assert statuses == [None] * MAX_OPEN + [b"429"] * 2 * MAX_OPEN
    content = encoded(next(iter(small_scanner.images.values())))
    answer = until(lambda: _unless_busy(identifying.client.post("/api/identify?rectified=1", content=content)), "the end of the uploads")
    assert answer.status_code == 200


def test_an_upload_that_ends_early_is_no_error_in_the_log(identifying, caplog):
    head = b"POST /api/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", identifying.server.port)) as client:
        client.sendall(head + bytes(1000))
        until(lambda: identifying.page.uploads._open, "the upload")
    until(lambda: not identifying.page.uploads._open, "the end of the upload")
    until(lambda: not identifying.server._server.server_state.tasks, "the end of the request")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def _unless_busy(answer):
    return None if answer.status_code == 429 else answer


def test_other_requests_have_a_lower_limit(identifying):
    answer = identifying.client.post("/api/corrections", content=b'{"event_id": "' + bytes(100_000) + b'"}')
    assert answer.status_code == 413


def test_one_image_at_a_time(query_context, small_scanner):
    content, inner = encoded(next(iter(small_scanner.images.values()))), []

    def recognizer():
        with pytest.raises(RefusedError) as refused:
            identifier.identify(content, rectified=True)
        inner.append(refused.value.status)
        return query_context.recognizer()

    identifier = UploadIdentifier(recognizer, IdentifyOptions(query_context.locate, query_context.top_k))
    assert identifier.identify(content, rectified=True).cards[0].card_id
    assert inner == [429]


def test_the_number_of_images_per_minute_is_limited(query_context):
    now_s = [0.0]
    identifier = UploadIdentifier(query_context.recognizer, IdentifyOptions(query_context.locate, query_context.top_k), lambda: now_s[0])
    for _ in range(PER_MINUTE):
        with pytest.raises(ImageError):
            identifier.identify(b"x", rectified=True)
    with pytest.raises(RefusedError) as refused:
        identifier.identify(b"x", rectified=True)
    assert refused.value.status == 429
    now_s[0] = 60.0
    with pytest.raises(ImageError):
        identifier.identify(b"x", rectified=True)


def test_cards_are_found_by_name_id_and_number_and_have_an_image(identifying, small_scanner):
    card_id = next(iter(small_scanner.images))
    found = identifying.client.get("/api/search", params={"q": card_id}).json()
    assert found[0] == {"card_id": card_id, "name": f"Name {card_id}", "set": "T", "number": card_id}
    assert len(identifying.client.get("/api/search?q=name&limit=3").json()) == 3
    assert identifying.client.get("/api/search", params={"q": '" OR * NEAR('}).json() == []
    image = identifying.client.get(f"/api/pictures/{card_id}.jpg")
    assert Image.open(io.BytesIO(image.content)).size == (126, 176)
    for missing in ("missing", "../../etc/passwd", "..%2f..%2fmanifest"):
        assert identifying.client.get(f"/api/pictures/{missing}.jpg").status_code == 404
