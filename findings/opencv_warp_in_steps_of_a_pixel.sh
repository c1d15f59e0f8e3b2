#!/usr/bin/env bash
# OpenCV 4.14.0: bilinear warps move an image in steps of 1/32 pixel, also with floating-point pixels and maps.
#
# Guess: `warpPerspective`, `warpAffine` and `remap` with INTER_LINEAR interpolate at the coordinates that they are given
# (8-bit images in fixed point, float32 images exactly), so that a corner that moves by 0.01 pixel moves the result.
# Seen, with a float32 ramp whose pixel values are its coordinates: a shift by less than 1/64 pixel changes nothing, one
# by 0.02 moves by 0.03125, one by 0.1 by 0.09375: each is rounded to a multiple of 1/32.
# What follows for a user: corners of a card that are refined by comparing warped images cannot be told apart below 1/32
# pixel, and the difference as a function of a corner has steps: a gradient from small differences is 0.
#
# Exits 0 while the behavior is as described, 1 otherwise.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "opencv-python-headless==4.14.0.94" "numpy==2.2.6"
cd "$work"
"$work/venv/bin/python" -I - <<'PYTHON'
import sys

import cv2
import numpy as np

WIDTH, HEIGHT, ROW, COLUMN = 256, 64, 32, 100
ramp = np.tile(np.arange(WIDTH, dtype=np.float32), (HEIGHT, 1))
rows = np.tile(np.arange(HEIGHT, dtype=np.float32)[:, None], (1, WIDTH))


def moved(image):
    return float(ramp[ROW, COLUMN] - image[ROW, COLUMN])


as_described = True
for shift in (0.005, 0.01, 0.015, 0.02, 0.05, 0.1, 0.3):
    homography = np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1]], np.float64)
    found = {
        "warpPerspective": moved(cv2.warpPerspective(ramp, homography, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)),
        "warpAffine": moved(cv2.warpAffine(ramp, homography[:2], (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)),
        "remap": moved(cv2.remap(ramp, ramp - np.float32(shift), rows, cv2.INTER_LINEAR)),
    }
    print(f"by {shift:5.3f} pixel: " + ", ".join(f"{name} {value:.5f}" for name, value in found.items()))
    as_described &= all(abs(value - round(shift * 32) / 32) < 1e-4 for value in found.values())
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
