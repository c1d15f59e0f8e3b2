"""Open the model and a bundle, identify the card of one frame, print status, resident memory in MB and processor time in seconds.

For ``tools/benchmark.py``. The frame is an array, as a camera delivers it: what decoding a file takes and leaves behind is not counted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from edge.app.index import open_gallery
from edge.app.locator import open_locate
from edge.app.model import start_model
from edge.recognition.recognizer import Recognizer
from edge.settings.sections import IndexSection, NetworkSection, Settings


def main() -> int:
    """Start as the daemon does, up to the first decision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("frame", type=Path, help="file .npy of uint8 (height, width, 3), RGB")
    args = parser.parse_args()
    settings = Settings(network=NetworkSection(model=args.model), index=IndexSection(directory=args.index))
    with start_model(settings.network) as starting, open_locate(settings.locate) as locate:
        opened = open_gallery(settings, starting.model, starting.artifact_sha256)
        recognizer = Recognizer(starting.result().embedder, opened.loaded)
        pixels = np.load(args.frame, allow_pickle=False)
        sightings = recognizer.recognize(pixels, locate(pixels))
        resident_kb = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
        print(type(sightings[0].decision).__name__ if sightings else "nothing", resident_kb / 1024, time.process_time())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
