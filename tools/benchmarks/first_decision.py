"""Open the model and a bundle, identify one image, print the status and the resident memory in MB. For ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.app.locator import open_locate
from edge.app.recognizer import open_recognizer
from edge.settings.sections import IndexSection, NetworkSection, Settings
from edge.vision.image_file import read_image


def main() -> int:
    """Start as the daemon does, up to the first decision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("image", type=Path)
    args = parser.parse_args()
    settings = Settings(network=NetworkSection(model=args.model), index=IndexSection(directory=args.index))
    with open_locate(settings.locate) as locate, open_recognizer(settings) as recognizer:
        pixels = read_image(args.image)
        sightings = recognizer.recognize(pixels, locate(pixels))
        resident_kb = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
        print(type(sightings[0].decision).__name__ if sightings else "nothing", resident_kb / 1024)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
