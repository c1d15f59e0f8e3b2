#!/usr/bin/env bash
# OpenCV 4.14.0: an image that is decoded at a reduced size depends on the file format, not only on its pixels.
#
# Guess: `imdecode` with IMREAD_REDUCED_COLOR_4 returns the image at a quarter of its size, every pixel the average of
# 4x4, from JPEG, PNG and WebP alike.
# Seen, with an image of vertical lines one pixel wide, every fourth white (average 64):
#   - JPEG: 64 everywhere at 1/4 and 1/8, as INTER_AREA has it;
#   - PNG and WebP without loss: 0 everywhere at 1/4 and 128 everywhere at 1/8. They are decoded whole and then
#     sampled between the two pixels in the middle, without a filter.
# What follows for a user: fine lines, glitter and print screens of a card come out as other patterns; entries of an
# index and queries that are decoded like this only agree if they have the same format.
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

lines = np.zeros((512, 512, 3), np.uint8)
lines[:, ::4] = 255
FORMATS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100],
    ".png": [],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100: without loss
}
means = {}
for ending, options in FORMATS.items():
    encoded = cv2.imencode(ending, lines, options)[1]
    reduced = (cv2.imdecode(encoded, flag) for flag in (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_COLOR_8))
    means[ending] = tuple(round(float(image.mean())) for image in reduced)
    print(f"{ending}: mean {means[ending][0]} at 1/4, {means[ending][1]} at 1/8")
area = round(float(cv2.resize(lines, (128, 128), interpolation=cv2.INTER_AREA).mean()))
print(f"resize with INTER_AREA: mean {area}")
as_described = means == {".jpg": (64, 64), ".png": (0, 128), ".webp": (0, 128)} and area == 64
print("as described" if as_described else "CHANGED: the behavior is no longer as described")
sys.exit(0 if as_described else 1)
PYTHON
