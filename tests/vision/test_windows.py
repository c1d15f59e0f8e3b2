"""Windows of a frame: tiles that miss no card, and coordinates that return to where they came from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.card import Size
from edge.vision.windows import MAX_TILES, PADDING_GRAY, Window, fitted_size, is_cut, letterbox, tiles, to_frame, whole


@settings(max_examples=200, deadline=None)
@given(
    width=st.integers(64, 4000), height=st.integers(64, 4000), card_share=st.floats(0.02, 0.5), magnified=st.floats(2.0, 8.0),
    x=st.floats(0, 1), y=st.floats(0, 1),
)  # fmt: skip
def test_every_card_is_whole_in_a_tile(width, height, card_share, magnified, x, y):
    card = card_share * max(width, height)
    windows = tiles(Size(width, height), card * magnified, card)
    assert 1 <= len(windows) <= MAX_TILES
    assert all(w.left >= 0 and w.top >= 0 and w.left + w.width <= width and w.top + w.height <= height for w in windows)
    left, top = x * max(0.0, width - card), y * max(0.0, height - card)
    right, bottom = min(left + card, width), min(top + card, height)
    # tiles start at whole pixels
    assert any(
        w.left <= left + 1 and w.top <= top + 1 and w.left + w.width >= right - 1 and w.top + w.height >= bottom - 1 for w in windows
    )


@pytest.mark.parametrize("window", [Window(0, 0, 1280, 720), Window(300, 100, 400, 400), Window(5, 7, 50, 90)])
def test_a_mark_is_found_where_it_was(window):
    pixels = np.zeros((720, 1280, 3), np.uint8)
    x, y = window.left + window.width * 0.3, window.top + window.height * 0.6
    side = max(4, window.width // 20)
    pixels[round(y) : round(y) + side, round(x) : round(x) + side] = 255
    size = Size(256, 192)
    (batch,) = letterbox(pixels, [window], size)
    fitted = fitted_size(window, size)
    rows, columns = np.nonzero(batch[: fitted.height, : fitted.width, 0] > 127)
    quad = np.array([[[columns.min(), rows.min()], [columns.max() + 1, rows.min()], [columns.max() + 1, rows.max() + 1],
                      [columns.min(), rows.max() + 1]]], np.float32)  # fmt: skip
    found = to_frame(quad, window, size)[0]
    pixel = 1.0 / (fitted.width / window.width)
    assert np.abs(found[0] - (np.array([round(x), round(y)]) - 0.5)).max() <= max(pixel, 1.0)
    assert np.abs(found[2] - (np.array([round(x), round(y)]) + side - 0.5)).max() <= max(pixel, 1.0)


def test_the_rest_of_the_input_is_gray():
    (batch,) = letterbox(np.zeros((100, 400, 3), np.uint8), [Window(0, 0, 400, 100)], Size(128, 96))
    assert (batch[:32] == 0).all()
    assert (batch[32:] == PADDING_GRAY).all()


def test_only_inner_edges_of_a_window_cut():
    frame = Size(1000, 500)
    quad = np.array([[[-20, 10], [80, 10], [80, 150], [-20, 150]]], np.float32)
    tolerance = np.array([5.0], np.float32)
    assert not is_cut(quad, Window(0, 0, 400, 400), frame, tolerance)[0], "the frame's edge cuts the card itself"
    assert is_cut(quad, Window(0, 0, 70, 400), frame, tolerance)[0]
    assert not is_cut(quad, Window(0, 0, 78, 400), frame, tolerance)[0], "within the tolerance"
    assert is_cut(quad + 100, Window(100, 0, 400, 400), frame, tolerance)[0]
    assert whole(np.zeros((500, 1000, 3), np.uint8)) == Window(0, 0, 1000, 500)
