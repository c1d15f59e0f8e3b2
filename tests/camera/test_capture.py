import inspect
import logging
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.adapters.stills import StillsSource
from edge.camera.capture import CameraThread, CaptureState
from edge.camera.driver_thread import DriverThread
from edge.camera.frame_checks import FROZEN_AFTER_S, FrameChecks
from edge.camera.video_clock import VideoClock
from edge.errors import CameraError, CameraFrozenError, CameraGarbageError, DriverHungError, ExitCode
from edge.vision.frame import Frame
from tests.support import failing_cameras as cameras
from tests.support.stand_ins import ListSource, noise_images

SECOND_NS = 1_000_000_000


def live_source(**options):
    return ListSource(noise_images(200), fps=200, loop=True, realtime=True, **options)


def camera_thread(*sources, **options):
    """A camera thread on these sources, one per opening; the last one is used for all further openings."""
    queue = list(sources)
    options = {"read_timeout_s": 0.2, "pause_s": (0.01, 0.05), **options}
    return CameraThread(lambda: queue.pop(0) if len(queue) > 1 else queue[0], **options)


def wait_for(predicate, what):
    deadline = time.monotonic() + 20.0
    while not predicate():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.002)


def wait_for_state(camera, state):
    wait_for(lambda: camera.status().state is state, state)


def take_all(camera):
    frames = []
    while not camera.over:
        frame = camera.get_frame(1.0)
        if frame is not None:
            frames.append(frame)
    return frames


# --- the slot ---


def test_the_newest_frame_is_kept_and_overwritten_ones_are_counted():
    with camera_thread(live_source()) as camera:
        wait_for(lambda: camera.status().frames >= 5, "five frames")
        frame = camera.get_frame(5.0)
        assert frame.sequence >= 4
        assert camera.status().dropped >= 4


def test_a_frame_is_returned_once():
    with camera_thread(ListSource(noise_images(1))) as camera:
        assert camera.get_frame(5.0).sequence == 0
        assert camera.get_frame(0.01) is None


def test_get_frame_waits_at_most_for_its_timeout():
    hung = cameras.CameraHangs(good=0)
    with camera_thread(hung, read_timeout_s=30.0) as camera:
        assert camera.get_frame(0.05) is None
        hung.released.set()


def test_lockstep_hands_over_every_frame_to_a_slow_reader():
    images = noise_images(20)
    with camera_thread(ListSource(images, fps=10.0), lockstep=True) as camera:
        frames = []
        while not camera.over:
            if (frame := camera.get_frame(5.0)) is not None:
                time.sleep(0.002)
                frames.append(frame)
        assert [frame.sequence for frame in frames] == list(range(20))
        assert [frame.captured_ns for frame in frames] == [round(index * SECOND_NS / 10) for index in range(20)]
        assert all(np.array_equal(frame.pixels, image) for frame, image in zip(frames, images, strict=True))
        assert camera.status().dropped == 0


# --- states and recovery ---


def test_a_video_that_ended_is_not_reopened_and_its_last_frame_is_returned():
    with camera_thread(ListSource(noise_images(3)), lockstep=True) as camera:
        assert len(take_all(camera)) == 3
        status = camera.status()
        assert (status.state, status.reopens, status.last_error) == (CaptureState.ENDED, 0, None)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (cameras.CameraStalls, CaptureState.FROZEN),
        (cameras.CameraFreezes, CaptureState.FROZEN),
        (cameras.CameraHangs, CaptureState.FROZEN),
        (cameras.CameraDisconnects, CaptureState.DISCONNECTED),
        (cameras.CameraIsBlack, CaptureState.GARBAGE),
        (cameras.CameraChangesSize, CaptureState.GARBAGE),
        (cameras.CameraBreaksADriver, CaptureState.FAILED),
    ],
)
def test_a_failure_sets_its_state_and_the_camera_recovers(fault, state):
    seen = []
    hold = threading.Event()

    def make_source():
        if not made:
            made.append(fault())
            return made[0]
        hold.wait(20.0)
        return live_source()

    made = []
    camera = CameraThread(make_source, checks=FrameChecks(frozen_after_s=0.05), read_timeout_s=0.1, pause_s=(0.01, 0.05))
    with camera:
        wait_for(lambda: camera.status().last_error is not None, "a failure")
        seen.append(camera.status().state)
        hold.set()
        wait_for_state(camera, CaptureState.RUNNING)
        before = camera.status().frames
        wait_for(lambda: camera.status().frames > before, "frames after the recovery")
        assert seen == [state]
        assert camera.status().reopens >= 1
        assert camera.status().last_error
        if isinstance(made[0], cameras.CameraHangs):
            made[0].released.set()


def test_sequence_numbers_continue_after_a_recovery():
    with camera_thread(cameras.CameraDisconnects(good=3), live_source()) as camera:
        wait_for(lambda: camera.status().reopens >= 1 and camera.status().state is CaptureState.RUNNING, "recovery")
        camera.get_frame(5.0)
        assert camera.get_frame(5.0).sequence >= 3


def test_a_missing_camera_is_failed_until_it_is_connected():
    class Absent(ListSource):
        def open(self):
            raise CameraError("no /dev/video0; plug the camera in")

    with camera_thread(Absent([]), Absent([]), live_source()) as camera:
        wait_for_state(camera, CaptureState.RUNNING)
        assert camera.status().reopens == 2
        assert camera.status().last_error == "no /dev/video0; plug the camera in"


def test_a_repeated_failure_is_logged_once(caplog):
    caplog.set_level(logging.WARNING, logger="edge.camera.capture")
    with camera_thread(cameras.CameraDisconnects(good=0)) as camera:
        wait_for(lambda: camera.status().reopens >= 4, "four reopenings")
    assert [record.message for record in caplog.records] == ["camera failed: the camera is gone"]


def test_without_recovery_the_first_failure_is_raised():
    with camera_thread(cameras.CameraDisconnects(good=2), recover=False, lockstep=True) as camera:
        assert camera.get_frame(5.0) is not None
        assert camera.get_frame(5.0) is not None
        with pytest.raises(CameraError, match="gone"):
            camera.get_frame(5.0)


def test_the_replay_of_an_empty_folder_is_bad_data(tmp_path):
    with camera_thread(StillsSource(tmp_path), recover=False) as camera:
        with pytest.raises(CameraError, match="folder is empty") as raised:
            camera.get_frame(5.0)
        assert raised.value.exit_code is ExitCode.BAD_DATA


def test_a_frozen_image_stays_frozen_across_reopenings():
    still = noise_images(1)
    with camera_thread(ListSource(still, fps=200, loop=True, realtime=True), checks=FrameChecks(frozen_after_s=0.05)) as camera:
        wait_for_state(camera, CaptureState.FROZEN)
        before = camera.status().frames
        wait_for(lambda: camera.status().reopens >= 3, "three reopenings")
        assert camera.status().frames == before, "an unchanged image is not a recovery"


# --- hung drivers and stopping ---


def test_a_hung_read_is_abandoned_counted_and_released_if_it_returns():
    hung = cameras.CameraHangs(good=1)
    with camera_thread(hung, live_source(), read_timeout_s=0.05) as camera:
        wait_for(lambda: camera.status().reopens >= 1 and camera.status().state is CaptureState.RUNNING, "recovery")
        assert camera.status().hung_calls == 1
        assert "did not return" in camera.status().last_error
        assert not hung.closed.is_set()
        hung.released.set()
        assert hung.closed.wait(20.0)


def test_stop_closes_the_source_and_returns_true():
    source = live_source()
    camera = camera_thread(source)
    camera.start()
    wait_for(lambda: camera.status().frames > 0, "a frame")
    assert camera.stop() is True
    assert camera.status().state is CaptureState.STOPPED
    with pytest.raises(CameraError, match="not open"):
        source.read(1.0)


@pytest.mark.parametrize("fault", [cameras.CameraHangs, cameras.CameraHangsOnClose])
def test_stop_returns_if_the_driver_hangs(fault):
    hung = fault(good=1)
    camera = camera_thread(hung, read_timeout_s=60.0)
    camera.start()
    wait_for(lambda: camera.status().frames == 1, "the good frame")
    assert camera.stop() is False
    hung.released.set()


def test_stop_releases_a_source_that_waits_in_lockstep():
    camera = camera_thread(ListSource(noise_images(5)), lockstep=True)
    camera.start()
    wait_for(lambda: camera.status().frames == 1, "the first frame")
    assert camera.stop() is True


def test_a_frozen_camera_is_noticed_within_five_seconds_by_default():
    options = inspect.signature(CameraThread).parameters
    assert options["read_timeout_s"].default + 1.0 <= 5.0  # one second of grace before a call counts as hung
    assert FROZEN_AFTER_S <= 5.0


def test_the_properties_of_a_source_are_in_the_status(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with camera_thread(StillsSource(tmp_path)) as camera:
        wait_for(lambda: camera.status().last_error is not None, "the failure")
        assert camera.status().properties["unreadable_stills"] == 1


def test_a_timeout_error_of_the_function_is_not_a_hang():
    def times_out():
        raise TimeoutError("mine")

    driver = DriverThread("test")
    with pytest.raises(TimeoutError, match="mine"):
        driver.call(times_out, 5.0)
    assert driver.call(lambda: 3, 5.0) == 3
    assert driver.finish(lambda: None, 5.0)


def test_a_driver_call_may_take_as_long_as_it_stays_alive():
    driver = DriverThread("test")

    def works():
        for _ in range(10):
            time.sleep(0.05)
            driver.keep_alive()
        return "done"

    assert driver.call(works, 0.3) == "done"
    assert driver.finish(lambda: None, 5.0)


def test_a_read_that_returns_too_late_changes_nothing():
    class Late(cameras.CameraHangs):
        def fail(self, timeout_s):
            self.released.wait()
            self._good += 1
            return self.read(timeout_s)

    late, gate, made = Late(good=1), threading.Event(), []

    def make_source():
        made.append(None)
        if len(made) == 1:
            return late
        gate.wait(20.0)
        return live_source()

    camera = CameraThread(make_source, read_timeout_s=0.05, pause_s=(0.01, 0.05))
    with camera:
        wait_for_state(camera, CaptureState.FROZEN)
        late.released.set()
        assert late.closed.wait(20.0)
        assert (camera.status().state, camera.status().frames) == (CaptureState.FROZEN, 1)
        gate.set()
        wait_for_state(camera, CaptureState.RUNNING)


def test_a_reader_slower_than_the_time_limit_is_no_hang_in_lockstep():
    with camera_thread(ListSource(noise_images(2)), lockstep=True, read_timeout_s=0.01) as camera:
        wait_for(lambda: camera.status().frames == 1, "the first frame")
        time.sleep(1.3)  # longer than the limit and its grace
        assert len(take_all(camera)) == 2
        assert camera.status().hung_calls == 0


def test_a_driver_call_that_does_not_return_is_abandoned():
    let_go = threading.Event()
    driver = DriverThread("test")
    with pytest.raises(DriverHungError, match="did not return"):
        driver.call(let_go.wait, 0.01)
    assert not driver.finish(lambda: None, 0.01)
    let_go.set()


# --- frame checks ---


def frame_of(pixels):
    return Frame(pixels, 0, 0)


def test_changing_images_are_always_live():
    checks = FrameChecks(frozen_after_s=1.0)
    assert all(checks.is_live(frame_of(image), index * SECOND_NS) for index, image in enumerate(noise_images(50)))


@given(st.lists(st.integers(1, 900_000_000), min_size=1, max_size=20))
def test_the_same_image_is_frozen_from_the_limit_on(steps_ns):
    checks, image = FrameChecks(frozen_after_s=2.0), noise_images(1)[0]
    assert checks.is_live(frame_of(image), 0)
    now_ns = 0
    for step_ns in steps_ns:
        now_ns += step_ns
        if now_ns >= 2 * SECOND_NS:
            with pytest.raises(CameraFrozenError):
                checks.is_live(frame_of(image.copy()), now_ns)
        else:
            assert not checks.is_live(frame_of(image.copy()), now_ns)


def test_one_changed_pixel_is_live():
    checks, image = FrameChecks(frozen_after_s=1.0), noise_images(1)[0]
    checks.is_live(frame_of(image), 0)
    changed = image.copy()
    changed[17, 11, 2] ^= 1
    assert checks.is_live(frame_of(changed), 2 * SECOND_NS)
    with pytest.raises(CameraFrozenError):
        checks.is_live(frame_of(changed.copy()), 3 * SECOND_NS)


def test_a_single_color_is_garbage_even_if_it_flickers():
    checks = FrameChecks(frozen_after_s=1.0)
    for tenth in range(10):
        assert not checks.is_live(frame_of(np.full((48, 64, 3), tenth % 2, np.uint8)), tenth * SECOND_NS // 10)
    with pytest.raises(CameraGarbageError, match="uncover the lens"):
        checks.is_live(frame_of(np.zeros((48, 64, 3), np.uint8)), SECOND_NS)


def test_another_size_is_garbage_unless_the_source_was_reopened():
    checks = FrameChecks()
    checks.is_live(frame_of(noise_images(1)[0]), 0)
    with pytest.raises(CameraGarbageError, match="from 64x48 to 32x24"):
        checks.is_live(frame_of(noise_images(1, width=32, height=24)[0]), 1)
    checks.source_opened()
    assert checks.is_live(frame_of(noise_images(1, width=32, height=24)[0]), 2)


def test_a_reopened_source_restarts_its_time_but_is_not_live_with_its_old_image():
    checks, image = FrameChecks(frozen_after_s=1.0), noise_images(1)[0]
    checks.is_live(frame_of(image), 0)
    with pytest.raises(CameraFrozenError):
        checks.is_live(frame_of(image), SECOND_NS)
    checks.source_opened()
    assert not checks.is_live(frame_of(image), 5 * SECOND_NS)
    assert not checks.is_live(frame_of(image), 5 * SECOND_NS + 1)
    with pytest.raises(CameraFrozenError):
        checks.is_live(frame_of(image), 6 * SECOND_NS)


# --- the clock of videos ---


class ManualClock:
    """A clock that is advanced only by sleeping."""

    def __init__(self):
        self.now_ns = 1_000
        self.slept_s = []

    def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.now_ns += round(seconds * SECOND_NS)


def test_a_video_in_real_time_returns_each_frame_when_it_is_due():
    manual = ManualClock()
    clock = VideoClock(realtime=True, clock_ns=lambda: manual.now_ns, sleep=manual.sleep)
    stamps = [clock.capture_ns(position_ns, 5.0) for position_ns in (0, 100_000_000, 400_000_000)]
    assert stamps == [1_000, 100_001_000, 400_001_000]
    assert manual.slept_s == pytest.approx([0.1, 0.3])


def test_a_reader_that_is_far_behind_does_not_catch_up():
    manual = ManualClock()
    clock = VideoClock(realtime=True, clock_ns=lambda: manual.now_ns, sleep=manual.sleep)
    clock.capture_ns(0, 5.0)
    manual.now_ns += 10 * SECOND_NS
    clock.capture_ns(SECOND_NS, 5.0)
    clock.capture_ns(2 * SECOND_NS, 5.0)
    assert manual.slept_s == pytest.approx([1.0])


def test_a_long_pause_in_a_video_is_cut_to_the_timeout():
    manual = ManualClock()
    clock = VideoClock(realtime=True, clock_ns=lambda: manual.now_ns, sleep=manual.sleep)
    clock.capture_ns(0, 2.0)
    clock.capture_ns(60 * SECOND_NS, 2.0)
    clock.capture_ns(61 * SECOND_NS, 2.0)
    assert manual.slept_s == pytest.approx([2.0, 1.0])


def test_a_video_read_as_fast_as_possible_has_its_own_time():
    clock = VideoClock(realtime=False, clock_ns=lambda: pytest.fail("no clock"), sleep=lambda _: pytest.fail("no sleep"))
    assert clock.capture_ns(123, 1.0) == 123
