"""Print the mean colors in a grid over a frame and the properties of the source, as JSON. Runs inside the container."""

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
colors = [middle.round(1).tolist() for middle in middles]
print(json.dumps({"colors": colors, "properties": source.properties(), "sequence": frame.sequence}))  # noqa: T201
