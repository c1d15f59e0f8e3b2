"""Runs inside the container: reads frames through our adapter, prints the middle color of each square of a grid and what was granted."""

import json
import sys

import cardedge_with_virtual_camera  # noqa: F401 - makes the virtual camera usable

from edge.adapters.picamera import PicameraSource

number, columns, rows = map(int, sys.argv[1:])
source = PicameraSource(number)
source.open()
try:
    for _ in range(5):
        frame = source.read(5.0)
finally:
    source.close()
height, width = frame.height // rows, frame.width // columns
squares = [frame.pixels[row * height :, column * width :][: height - 1, : width - 1] for row in range(rows) for column in range(columns)]
middles = [square[height // 3 : -height // 3, width // 3 : -width // 3].reshape(-1, 3).mean(axis=0) for square in squares]
print(json.dumps({"colours": [middle.round(1).tolist() for middle in middles], "facts": source.properties(), "sequence": frame.sequence}))  # noqa: T201
