"""Decoding the outputs of the detector."""

from dataclasses import replace

import numpy as np
import pytest

from edge.vision.card import Size
from edge.vision.detector import DetectorInfo, DetectorMaps, DetectorThresholds, decode

INFO = DetectorInfo("m", "0" * 64, Size(128, 96), 8, 16.0, DetectorThresholds(0.3), max_batch=4)
CELLS = (96 // 8, 128 // 8)


def maps_with(*cards):
    """Maps of cards: cell, corners in input pixels, score, order, class. Neighbors of a peak propose the same corners."""
    maps = DetectorMaps(*(np.zeros((1, channels, *CELLS), np.float32) for channels in (2, 8, 1, 1)))
    for row, column, corners, score, order, side in cards:
        for y in range(row - 1, row + 2):
            for x in range(column - 1, column + 2):
                center = (np.array([x, y]) + 0.5) * 8
                maps.corners[0, :, y, x] = ((corners - center) / 16.0).ravel()
                maps.heat[0, side, y, x] = score if (y, x) == (row, column) else 0.6 * score
        maps.order[0, 0, row, column], maps.visible[0, 0, row, column] = order, 0.9
    return maps


def outline(x, y, width=28.0, height=40.0):
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def test_a_peak_is_a_card_with_its_corners_from_its_own_top_left():
    first, second = outline(10, 8), outline(70, 30)
    found = decode(maps_with((3, 3, first, 0.9, 0.8, 0), (6, 10, second, 0.7, 0.1, 1)), 0, INFO, min_score=0.3, most=10)
    assert np.allclose(found.quads, [first, np.roll(second, 2, axis=0)], atol=1e-3)
    assert found.score.tolist() == pytest.approx([0.9, 0.7])
    assert found.order.tolist() == pytest.approx([0.8, 0.9])
    assert found.is_back.tolist() == [False, True]


def test_low_peaks_and_more_than_are_wanted_are_left_out():
    maps = maps_with((3, 3, outline(10, 8), 0.9, 0.8, 0), (6, 10, outline(70, 30), 0.25, 0.9, 0))
    assert len(decode(maps, 0, INFO, min_score=0.3, most=10)) == 1
    assert len(decode(maps, 0, INFO, min_score=0.2, most=10)) == 2
    assert len(decode(maps, 0, INFO, min_score=0.2, most=1)) == 1
    assert len(decode(maps, 0, INFO, min_score=0.95, most=1)) == 0


def test_the_errors_of_neighboring_cells_average_out_whichever_end_they_start_at():
    corners = outline(20, 12)
    exact = maps_with((4, 4, corners, 0.9, 0.9, 0))
    noise = np.random.default_rng(0).normal(0, 0.1, exact.corners.shape).astype(np.float32)
    noisy = replace(exact, corners=exact.corners + noise)
    noisy.corners[0, :, 4, 5] = np.roll(noisy.corners[0, :, 4, 5].reshape(4, 2), 2, axis=0).ravel()
    (quad,) = decode(noisy, 0, INFO, min_score=0.3, most=10).quads
    alone = np.abs(noise[0, :, 4, 4]).mean() * 16.0
    assert np.abs(quad - corners).mean() < 0.6 * alone


def test_the_corners_of_a_neighboring_card_are_not_mixed_in():
    corners = outline(20, 12)
    maps = maps_with((4, 4, corners, 0.9, 0.9, 0))
    maps.corners[0, :, 4, 5] += 20.0 / 16.0
    (quad,) = decode(maps, 0, INFO, min_score=0.3, most=10).quads
    assert np.allclose(quad, corners, atol=1e-3)


def test_peaks_at_the_edge_of_the_map_are_decoded():
    maps = maps_with()
    maps.heat[0, 0, 0, 0], maps.heat[0, 0, -1, -1], maps.order[:] = 0.9, 0.8, 1.0
    maps.corners[0, :, 0, 0] = maps.corners[0, :, -1, -1] = (outline(-14, -20) / 16.0).ravel()
    found = decode(maps, 0, INFO, min_score=0.3, most=10)
    assert np.allclose(found.quads[0], outline(-10, -16), atol=1e-3)
    assert np.allclose(found.quads[1], outline(110, 72), atol=1e-3)
