"""Videos whose pixels are not square are shown as they are meant to be."""

import os
import threading

import pytest

from edge.adapters.video import StreamSource, VideoFileSource

WIDTH, HEIGHT = 64, 48


def write_y4m(path, aspect):
    """Write a video of two gray frames; ``aspect`` is the shape of its pixels, as in the header of YUV4MPEG2."""
    head = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A{aspect} C420jpeg\n".encode()
    frame = b"FRAME\n" + bytes([120]) * (WIDTH * HEIGHT) + bytes([128]) * (WIDTH * HEIGHT // 2)
    path.write_bytes(head + 2 * frame)
    return path


@pytest.mark.parametrize(
    ("aspect", "width"), [("1:1", 64), ("2:1", 128), ("16:15", 68), ("8:9", 57), ("0:0", 64), ("100:1", 64), ("1:100", 64)]
)
def test_a_frame_has_square_pixels(tmp_path, aspect, width):
    source = VideoFileSource(write_y4m(tmp_path / "video.y4m", aspect))
    source.open()
    assert source.read(1.0).pixels.shape == (HEIGHT, width, 3)
    source.close()


def test_a_frame_of_a_stream_has_square_pixels(tmp_path):
    pipe, video = tmp_path / "camera", write_y4m(tmp_path / "video.y4m", "2:1").read_bytes()
    os.mkfifo(pipe)
    camera = threading.Thread(target=pipe.write_bytes, args=(video,))
    camera.start()
    source = StreamSource(str(pipe))
    source.open()
    assert source.read(10.0).pixels.shape == (HEIGHT, 2 * WIDTH, 3)
    source.close()
    camera.join()
