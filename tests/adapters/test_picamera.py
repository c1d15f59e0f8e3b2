import importlib.util
import inspect
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.picamera import PicameraSource
from edge.camera.capture import CameraThread, CaptureState
from edge.camera.pixel_formats import PixelLayout, to_rgb
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError
from edge.system import machine
from edge.vision.card import Size
from tests.support.picamera2_double import CompletedRequest, Hardware, Picamera2, installed, memory
from tests.support.stand_ins import noise_images

SIZE = Size(160, 120)


@pytest.fixture
def hardware(monkeypatch):
    return installed(monkeypatch, Hardware(noise_images(20, width=160, height=120)))


@pytest.fixture
def opened():
    """Returns a function that opens a source, which is closed after the test."""
    sources = []

    def open_source(**options):
        source = PicameraSource(**{"size": SIZE, "fps": 200.0, **options})
        sources.append(source)
        source.open()
        return source

    yield open_source
    for source in sources:
        source.close()


def test_one_configuration_without_raw_stream_or_queue(hardware, opened):
    opened(fps=20.0)
    config = hardware.opened[0].camera_configuration()
    assert config["main"]["format"] == "BGR888"
    assert (config["raw"], config["lores"], config["queue"], config["buffer_count"]) == (None, None, False, 4)
    assert config["controls"]["FrameDurationLimits"] == (50_000, 50_000)
    assert config["controls"]["AfMode"] == 2
    assert "AeEnable" not in config["controls"]


def test_fixed_focus_and_exposure(hardware, opened):
    opened(lens_position_dioptres=9.0, exposure_us=8_000, gain=3.0)
    controls = hardware.opened[0].camera_configuration()["controls"]
    wanted = {"AfMode": 0, "LensPosition": 9.0, "ExposureTime": 8_000, "AnalogueGain": 3.0, "AeEnable": False}
    assert wanted.items() <= controls.items()


def test_a_fixed_exposure_alone_leaves_the_gain_to_the_camera(hardware, opened):
    opened(exposure_us=8_000)
    controls = hardware.opened[0].camera_configuration()["controls"]
    assert controls["ExposureTime"] == 8_000
    assert not {"AeEnable", "AnalogueGain"} & set(controls)


def test_a_camera_without_a_focus_motor(monkeypatch, opened):
    hardware = installed(monkeypatch, Hardware(noise_images(3), controls={"ExposureTime": (1, 2, 1)}))
    assert opened().read(5.0).width == 160
    hardware.opened[0].close()
    with pytest.raises(CameraError, match="no control LensPosition; remove it"):
        opened(lens_position_dioptres=9.0)
    assert hardware.opened[1].closed


@pytest.mark.parametrize(
    "pixel_format", ["BGR888", "RGB888", "XBGR8888", "XRGB8888", "YUV420", "YVU420", "NV12", "NV21", "YUYV", "UYVY", "MJPEG"]
)
def test_every_granted_format_is_converted_to_rgb(monkeypatch, opened, pixel_format):
    scene = np.zeros((120, 160, 3), np.uint8)
    scene[:, :80], scene[:, 80:] = (220, 30, 20), (20, 40, 200)
    installed(monkeypatch, Hardware([scene], granted_format=pixel_format, align=64))
    pixels = opened().read(5.0).pixels
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((120, 160, 3), np.uint8, True)
    assert np.abs(pixels[60, 20].astype(int) - (220, 30, 20)).max() < 12
    assert np.abs(pixels[60, 140].astype(int) - (20, 40, 200)).max() < 12


@given(
    st.integers(1, 20), st.integers(1, 20), st.sampled_from(["BGR888", "RGB888", "XBGR8888", "XRGB8888"]), st.sampled_from([1, 4, 32, 64])
)  # fmt: skip
def test_padding_is_removed(half_width, half_height, pixel_format, align):
    image = noise_images(1, width=2 * half_width, height=2 * half_height)[0]
    buffer, stride = memory(image, pixel_format, align)
    tail = np.full(777, 99, np.uint8)  # buffers are longer than their images
    layout = PixelLayout(pixel_format, Size(2 * half_width, 2 * half_height), stride)
    assert np.array_equal(to_rgb(np.concatenate((buffer, tail)), layout), image)


def test_a_different_granted_size_is_accepted_and_logged(monkeypatch, opened, caplog):
    installed(monkeypatch, Hardware(noise_images(3), granted_size=(128, 96)))
    source = opened()
    assert (source.read(5.0).width, source.properties()["granted"]) == (128, "128x96 BGR888")
    assert "requested 160x120, granted 128x96" in caplog.text


def test_metadata_of_a_frame_becomes_properties(hardware, opened):
    source = opened()
    source.read(5.0)
    expected = {"exposure_us": 9_990, "gain": 2.0, "lens_position_dioptres": 8.5, "focus_measure": 1_234}
    assert expected.items() <= source.properties().items()


def test_a_time_stamp_on_the_monotonic_clock_is_used(hardware, opened):
    hardware.stamp = lambda: time.monotonic_ns() - 40_000_000
    taken_ns = opened(clock_ns=time.monotonic_ns).read(5.0).captured_ns
    assert time.monotonic_ns() - taken_ns >= 40_000_000


@pytest.mark.parametrize("offset_s", [-7_200, 7_200, 1])
def test_a_time_stamp_on_another_clock_is_replaced_by_the_arrival(hardware, opened, offset_s):
    hardware.stamp = lambda: 1_000_000_000_000 + offset_s * 1_000_000_000
    assert opened(clock_ns=lambda: 1_000_000_000_000).read(5.0).captured_ns == 1_000_000_000_000


def test_every_request_is_released(hardware, opened):
    source = opened()
    assert [source.read(5.0).sequence for _ in range(12)] == list(range(12))
    assert hardware.opened[0].free_buffers == 4


def test_cancelled_requests_time_out(hardware, opened):
    source = opened()
    source.read(5.0)
    hardware.cancelling.set()
    with pytest.raises(CameraFrozenError, match="ribbon"):
        source.read(0.05)
    hardware.cancelling.clear()
    assert source.read(5.0).sequence == 1


def test_a_short_buffer_is_an_error_and_is_released(hardware, opened):
    source = opened()
    hardware.short_buffers = True
    with pytest.raises(CameraGarbageError, match="bytes"):
        source.read(5.0)
    assert hardware.opened[0].free_buffers == 4


def test_close_cancels_pending_requests(hardware, opened):
    source = opened()
    hardware.cancelling.set()
    with pytest.raises(CameraFrozenError):
        source.read(0.01)
    source.close()
    assert hardware.opened[0].closed


def test_a_close_that_hangs_is_abandoned(hardware, opened, caplog):
    source = opened()
    hardware.close_lets_go.clear()
    source.close()
    assert "closing hangs" in caplog.text
    with pytest.raises(CameraError, match="busy"):
        source.open()
    hardware.close_lets_go.set()


def test_a_loose_ribbon_recovers_with_a_new_camera_object(hardware):
    camera = CameraThread(lambda: PicameraSource(size=SIZE, fps=200.0), read_timeout_s=0.1, pause_s=(0.01, 0.05))
    with camera:
        assert camera.get_frame(20.0) is not None
        hardware.cancelling.set()
        deadline = time.monotonic() + 20.0
        while camera.status().state is not CaptureState.FROZEN and time.monotonic() < deadline:
            time.sleep(0.005)
        assert camera.status().state is CaptureState.FROZEN
        hardware.cancelling.clear()
        while camera.status().state is not CaptureState.RUNNING and time.monotonic() < deadline:
            time.sleep(0.005)
        assert camera.status().state is CaptureState.RUNNING
        assert camera.status().properties["exposure_us"] == 9_990
    assert len(hardware.opened) >= 2
    assert all(each.closed for each in hardware.opened)


@pytest.mark.parametrize(("models", "found"), [(["imx708"], "0 imx708"), ([], "none")])
def test_a_missing_camera_error_lists_the_cameras_found(hardware, models, found):
    hardware.models = models
    with pytest.raises(CameraError, match=rf"camera 1: not found \(found: {found}\); check the ribbon cable"):
        PicameraSource(1).open()


def test_a_reconnected_camera_is_found_by_the_next_open(hardware, opened):
    found = list(hardware.models)
    hardware.models = []
    source = PicameraSource(0, size=SIZE)
    for _ in range(2):
        with pytest.raises(CameraError, match=r"found: none"):
            source.open()
    hardware.models = found
    assert opened().read(5.0).width == 160


def test_a_camera_in_use_elsewhere(hardware):
    hardware.in_use = True
    with pytest.raises(CameraError, match=r"cannot be opened \(.*busy\); is another program using it"):
        PicameraSource().open()


def test_without_picamera2_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(machine, "board_name", lambda _: "Raspberry Pi 5 Model B Rev 1.0")
    with pytest.raises(CameraError, match=r"sudo apt install python3-picamera2.*--system-site-packages"):
        PicameraSource().open()


def test_a_machine_without_a_pi_camera_is_told_which_cameras_it_may_use(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    monkeypatch.setattr(machine, "board_name", lambda _: "x86_64")
    with pytest.raises(CameraError, match=r"not a Raspberry Pi.*camera\.kind.*\"v4l2\"") as raised:
        PicameraSource().open()
    assert "install" not in str(raised.value)


def test_an_unsupported_format(monkeypatch):
    with pytest.raises(CameraError, match="delivers SRGGB10, which is not supported; supported formats: BGR888"):
        to_rgb(np.zeros(100, np.uint8), PixelLayout("SRGGB10", Size(4, 4), 8))


def test_undecodable_jpeg():
    for data in (np.zeros(0, np.uint8), np.arange(200, dtype=np.uint8)):
        with pytest.raises(CameraGarbageError, match="JPEG"):
            to_rgb(data, PixelLayout("MJPEG", Size(4, 4), 0))


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is None, reason="Picamera2 is not installed: its signatures cannot be compared")
@pytest.mark.parametrize("method", [name for name, _ in inspect.getmembers(Picamera2, inspect.isfunction) if not name.startswith("_")])
def test_the_double_has_the_signatures_of_the_real_one(method):
    import picamera2  # noqa: PLC0415

    assert parameters(Picamera2, method) <= parameters(picamera2.Picamera2, method)


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is None, reason="Picamera2 is not installed: its signatures cannot be compared")
@pytest.mark.parametrize("method", ["make_buffer", "get_metadata", "release"])
def test_the_doubles_request_has_the_signatures_of_the_real_one(method):
    from picamera2.request import CompletedRequest as RealRequest  # noqa: PLC0415

    assert parameters(CompletedRequest, method) == parameters(RealRequest, method)


def parameters(owner, method):
    return set(inspect.signature(getattr(owner, method)).parameters)


def test_no_thread_of_a_camera_is_left_after_closing(hardware, opened):
    source = opened()
    source.read(5.0)
    source.close()
    deadline = time.monotonic() + 20.0
    while any("close" in thread.name for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not any("close" in thread.name for thread in threading.enumerate())
