"""The contract of frame sources, tested on every implementation."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.adapters.picamera import PicameraSource
from edge.adapters.stills import StillsSource
from edge.adapters.video import DeviceSource, StreamSource, VideoFileSource
from edge.errors import CameraError, CameraFrozenError, ExitCode, RecordingError, SourceEndedError
from edge.vision.card import Size
from edge.vision.frame import Frame
from tests.support.mjpeg_server import mjpeg_server
from tests.support.picamera2_double import Hardware, installed
from tests.support.stand_ins import ListSource

WIDTH, HEIGHT, FPS, COUNT = 160, 120, 50.0, 12
RED, BLUE = (200, 40, 30), (30, 50, 190)


def scene(index):
    """Red on the left, blue on the right, and a green bar that moves down from frame to frame."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2], image[:, WIDTH // 2 :] = RED, BLUE
    image[index * 4 % HEIGHT : index * 4 % HEIGHT + 4, :] = (30, 200, 40)
    return image


SCENES = [scene(index) for index in range(COUNT)]


@dataclass
class Case:
    make: object
    """Returns a source of the scenes, not yet open."""
    live: bool
    make_absent: object = None
    """Returns a source whose device or file does not exist."""
    setup: object = None
    """Called before each opening, to start what the source connects to."""


def write_video(path, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, (WIDTH, HEIGHT))
    for image in SCENES:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_stills(folder):
    folder.mkdir()
    for index, image in enumerate(SCENES):
        cv2.imwrite(str(folder / f"still_{index:03d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder


class PipeWriter:
    """Writes MJPEG into a named pipe as fast as it is read, like another program; call once for each opening of the pipe."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self._jpegs = [cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes() for image in SCENES]

    def __call__(self):
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self):
        try:
            with self.path.open("wb", buffering=0) as pipe:
                for index in range(100_000):
                    pipe.write(self._jpegs[index % COUNT])
        except BrokenPipeError:
            pass


def video_case(folder, _, **options):
    video = write_video(folder / "film.mp4")
    return Case(lambda: VideoFileSource(video, **options), live=bool(options), make_absent=lambda: VideoFileSource(folder / "absent.mp4"))


def stills_case(folder, _):
    stills = write_stills(folder / "stills")
    return Case(
        lambda: StillsSource(stills, seconds_per_still=1 / FPS, fps=FPS),
        live=False,
        make_absent=lambda: StillsSource(folder / "absent"),
    )


def pipe_case(folder, _):
    pipe = folder / "camera.mjpeg"
    return Case(lambda: StreamSource(str(pipe)), live=True, setup=PipeWriter(pipe))


def picamera_case(_, monkeypatch, **options):
    installed(monkeypatch, Hardware(SCENES, **options))
    make = lambda number: PicameraSource(number, size=Size(WIDTH, HEIGHT), fps=FPS)  # noqa: E731
    return Case(lambda: make(0), live=True, make_absent=lambda: make(7))


def v4l2_case(_, __):
    device = Path("/dev/video0")
    if not device.exists():
        pytest.skip(f"no {device}: a V4L2 camera cannot be tested")
    return Case(lambda: DeviceSource(str(device)), live=True, make_absent=lambda: DeviceSource("/dev/video999"))


CASES = {
    "list": lambda folder, _: Case(lambda: ListSource(SCENES, fps=FPS), live=False),
    "video": video_case,
    "video in real time": partial(video_case, realtime=True),
    "folder of stills": stills_case,
    "named pipe": pipe_case,
    "picamera2 double": picamera_case,
    "picamera2 double, NV12": partial(picamera_case, granted_format="NV12"),
    "v4l2": v4l2_case,
}


@contextmanager
def case(name, folder, monkeypatch):
    if name == "stream":
        with mjpeg_server(SCENES, fps=FPS) as server:
            absent = "http://127.0.0.1:9/absent"
            yield Case(lambda: StreamSource(server.url), live=True, make_absent=lambda: StreamSource(absent, open_timeout_s=1.0))
    else:
        yield CASES[name](folder, monkeypatch)


FINITE = ["list", "video", "video in real time", "folder of stills"]


@pytest.fixture(params=[*CASES, "stream"])
def source_case(request, tmp_path, monkeypatch):
    with case(request.param, tmp_path, monkeypatch) as found:
        yield found


def opened(source_case):
    if source_case.setup is not None:
        source_case.setup()
    source = source_case.make()
    source.open()
    return source


def test_frames_are_rgb_numbered_and_in_the_order_of_time(source_case):
    source = opened(source_case)
    frames = [source.read(5.0) for _ in range(6)]
    source.close()
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert frame.sequence == index
        assert (frame.pixels.dtype, frame.pixels.ndim, frame.pixels.shape[2], frame.pixels.flags.c_contiguous) == (np.uint8, 3, 3, True)
    stamps = [frame.captured_ns for frame in frames]
    assert stamps == sorted(set(stamps))


def test_colors_are_in_the_right_order(source_case, request):
    if "v4l2" in request.node.name:
        pytest.skip("the scene of a real camera is unknown")
    source = opened(source_case)
    pixels = source.read(5.0).pixels
    source.close()
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels[80, 20].astype(int) - RED).max() < 25
    assert np.abs(pixels[80, 140].astype(int) - BLUE).max() < 25


def test_capture_times_of_a_live_source_are_of_the_monotonic_clock(source_case):
    if not source_case.live:
        pytest.skip("a recording read as fast as possible has its own time")
    source = opened(source_case)
    captured_ns = source.read(5.0).captured_ns
    source.close()
    assert 0 <= time.monotonic_ns() - captured_ns < 10_000_000_000


def test_a_source_can_be_closed_in_any_state_and_opened_again(source_case):
    source = source_case.make()
    source.close()
    for _ in range(2):
        if source_case.setup is not None:
            source_case.setup()
        source.open()
        assert source.read(5.0).sequence == 0
        source.close()
        source.close()
        with pytest.raises(CameraError, match="not open"):
            source.read(0.1)


def test_a_missing_source_is_named_with_what_to_do(source_case):
    if source_case.make_absent is None:
        pytest.skip("a list cannot be missing")
    source = source_case.make_absent()
    with pytest.raises(CameraError, match=r"absent|camera 7|video999") as raised:
        source.open()
    assert ";" in str(raised.value)
    source.close()


@pytest.mark.parametrize("name", FINITE)
def test_a_recording_that_ended_stays_ended(name, tmp_path, monkeypatch):
    with case(name, tmp_path, monkeypatch) as found:
        source = opened(found)
        for _ in range(COUNT):
            source.read(5.0)
        for _ in range(2):
            with pytest.raises(SourceEndedError):
                source.read(5.0)
        source.close()


@pytest.mark.parametrize("name", [name for name in FINITE if name != "video in real time"])
def test_the_capture_time_of_a_recording_is_its_position(name, tmp_path, monkeypatch):
    with case(name, tmp_path, monkeypatch) as found:
        source = opened(found)
        stamps_ms = [source.read(5.0).captured_ns / 1e6 for _ in range(COUNT)]
        source.close()
    assert stamps_ms == pytest.approx([index * 1000.0 / FPS for index in range(COUNT)], abs=1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: ListSource(SCENES, fps=FPS, loop=True),
        lambda folder: VideoFileSource(write_video(folder / "film.mp4"), loop=True),
        lambda folder: StillsSource(write_stills(folder / "stills"), seconds_per_still=1 / FPS, fps=FPS, loop=True),
    ],
    ids=["list", "video", "folder of stills"],
)
def test_a_loop_starts_over_while_time_continues(make, tmp_path):
    source = make(tmp_path)
    source.open()
    frames = [source.read(5.0) for _ in range(2 * COUNT + 1)]
    source.close()
    assert np.array_equal(frames[0].pixels, frames[COUNT].pixels)
    assert [frame.sequence for frame in frames] == list(range(2 * COUNT + 1))
    assert [frame.captured_ns / 1e6 for frame in frames] == pytest.approx([index * 1000.0 / FPS for index in range(2 * COUNT + 1)], abs=1.0)


# --- videos and stills that cannot be used ---


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", r"video is empty \(0 bytes\)"), (b"no film\n" * 100, "not a video"), (None, "No such file"), ("cut", "not a video")],
)
def test_an_unusable_video_is_bad_data(tmp_path, content, reason):
    path = tmp_path / "film.mp4"
    if content == "cut":
        content = write_video(path).read_bytes()[:2000]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=rf"film\.mp4: .*{reason}.*; ") as raised:
        VideoFileSource(path).open()
    assert raised.value.exit_code is ExitCode.BAD_DATA


@pytest.mark.parametrize("name", ["2026-11-27T12:30:05.mp4", "file:a.mp4", "http:a.mp4"])
def test_a_relative_name_with_a_colon_is_a_file(name, tmp_path, monkeypatch):
    write_video(tmp_path / "video.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    source = VideoFileSource(Path(name))
    source.open()
    assert source.read(1.0).sequence == 0
    source.close()


def test_a_folder_is_not_a_video(tmp_path):
    with pytest.raises(RecordingError, match="is not a file; folders of stills"):
        VideoFileSource(tmp_path).open()


def test_a_truncated_video_is_logged(tmp_path, caplog):
    video = write_video(tmp_path / "film.avi", "MJPG")
    video.write_bytes(video.read_bytes()[: video.stat().st_size * 3 // 5])
    source = VideoFileSource(video)
    source.open()
    with pytest.raises(SourceEndedError):
        read_until_it_fails(source)
    source.close()
    assert "the file may be damaged" in caplog.text


def test_stills_may_differ_in_size_and_unreadable_ones_are_logged_once(tmp_path, caplog):
    folder = tmp_path / "stills"
    folder.mkdir()
    for name, size in [("a.png", (40, 30)), ("c.png", (20, 10))]:
        cv2.imwrite(str(folder / name), np.full((size[1], size[0], 3), 128, np.uint8))
    (folder / "b.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a image")
    (folder / ".hidden.png").write_bytes(b"")
    source = StillsSource(folder, seconds_per_still=0.2, fps=10.0, loop=True)
    source.open()
    frames = [source.read(1.0) for _ in range(8)]
    assert [(frame.width, frame.height) for frame in frames] == [(40, 30), (40, 30), (20, 10), (20, 10)] * 2
    assert source.properties() == {"stills": 4, "unreadable_stills": 2}
    source.close()
    assert [record.message.partition(": is")[0].partition(": not")[0] for record in caplog.records] == [
        f"skipped: {folder}/b.png",
        f"skipped: {folder}/notes.txt",
    ]


def test_a_folder_without_a_readable_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    source = StillsSource(tmp_path, loop=True)
    source.open()
    with pytest.raises(RecordingError, match="none of its 1 files is a readable image"):
        source.read(1.0)


# --- streams and devices that fail ---


def read_until_it_fails(source, frames=200):
    for _ in range(frames):
        source.read(1.0)
    pytest.fail("the source did not fail")


@pytest.mark.parametrize(("fault", "error"), [("stall", CameraFrozenError), ("cut", CameraError), ("garbage", CameraError)])
def test_a_failed_stream_raises_within_the_timeout(fault, error):
    with mjpeg_server(SCENES, fps=100.0, good=5, fault=fault) as server:
        source = StreamSource(server.url, read_timeout_s=0.3)
        source.open()
        with pytest.raises(error) as raised:
            read_until_it_fails(source)
        source.close()
    assert not isinstance(raised.value, SourceEndedError)
    assert isinstance(raised.value, CameraFrozenError) == (error is CameraFrozenError)


def test_a_password_in_an_address_stays_out_of_the_message():
    with pytest.raises(CameraError) as raised:
        StreamSource("rtsp://admin:s3cret@127.0.0.1:9/live", open_timeout_s=1.0).open()
    assert "s3cret" not in str(raised.value)
    assert "admin" not in str(raised.value)
    assert "127.0.0.1:9/live" in str(raised.value)


def test_a_path_that_is_not_a_device(tmp_path):
    file = tmp_path / "video0"
    file.touch()
    with pytest.raises(CameraError, match=r"is not a device; for a video set camera\.kind"):
        DeviceSource(str(file)).open()
    with pytest.raises(CameraError, match="No such file or directory; plug the camera in"):
        DeviceSource(str(tmp_path / "video1")).open()
    with pytest.raises(CameraError, match="cannot be used as a camera"):
        DeviceSource("/dev/null").open()
    with pytest.raises(CameraError, match="pixel format 'MJPEG' is not a four-letter code"):
        DeviceSource(str(file), pixel_format="MJPEG")


def test_drivers_do_not_write_to_standard_error(tmp_path, capfd):
    video = tmp_path / "film.mp4"
    video.write_bytes(b"not a video")
    for source in (VideoFileSource(video), StreamSource("http://127.0.0.1:9/x", open_timeout_s=1.0), DeviceSource("/dev/null")):
        with pytest.raises(CameraError):
            source.open()
    assert capfd.readouterr() == ("", "")
