"""Addresses of network cameras: no secret is shown, and a login is added with any character in it."""

import pytest

from edge.settings.address import has_login, is_address, redact_address, redact_addresses, with_login


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://camera/1", "rtsp://camera/1"),
        ("http://[fe80::1]:8080/mjpg", "http://[fe80::1]:8080/mjpg"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("rtsp://viewer:secret@camera:554/1", "rtsp://…@camera:554/1"),
        ("RTSP://viewer:secret@camera/1", "RTSP://…@camera/1"),
        ("rtsp://viewer:sec@ret@camera:554/1", "rtsp://…@camera:554/1"),
        ("rtsp://viewer:sec/ret@camera:554/1", "rtsp://…"),
        ("rtsp://viewer:12/secret@camera:554/1", "rtsp://…"),
        ("rtsp://viewer:se?c#ret@camera:554/1", "rtsp://…"),
        ("rtsp://viewer:se:c/ret", "rtsp://…"),
        ("http://camera/cgi?usr=viewer&pwd=secret", "http://camera/cgi?…"),
        ("http://camera/cgi?pwd=sec@ret", "http://…"),
        ("http://camera/1#secret", "http://camera/1?…"),
        ("http://camera/user=viewer_password=secret_channel=1.sdp", "http://camera/…"),
        ("http://camera/user%3Dviewer%26password%3Dsecret/1", "http://camera/…/1"),
        ("http://proxy/rtsp://camera/1", "http://proxy/…//camera/1"),
        ("viewer:secret@camera/1", "…"),
        ("camera/cgi?usr=viewer&pwd=secret", "…"),
        ("/dev/video0", "/dev/video0"),
        ("/home/user/2026-11-27T12:30:05.mp4", "/home/user/2026-11-27T12:30:05.mp4"),
        ("0", "0"),
    ],
)
def test_login_and_parameters_are_left_out(address, shown):
    assert redact_address(address) == shown
    if is_address(address):
        assert redact_addresses(f"no answer from {address} for 3 s") == f"no answer from {shown} for 3 s"


def test_an_address_with_a_login_is_recognized():
    assert has_login("rtsp://viewer@camera/1")
    assert not has_login("udp://@239.0.0.1:1234")


def test_a_login_is_escaped():
    assert with_login("rtsp://camera:554/1?x=1", "vi ewer", "p@s/s?#%:ü") == "rtsp://vi%20ewer:p%40s%2Fs%3F%23%25%3A%C3%BC@camera:554/1?x=1"
    assert with_login("rtsp://camera/1", "viewer", None) == "rtsp://viewer@camera/1"
