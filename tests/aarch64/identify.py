"""Identify the cards of images as ``cardedge identify`` does, with models and precision as settings name them. Runs inside a root.

identify.py HEF INDEX PRECISION {photos,rectified} IMAGE...
"""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from edge.app import model
from edge.app.locator import open_locate
from edge.app.recognizer import open_recognizer
from edge.identification import images as identification
from edge.settings.sections import IndexSection, LocateSection, NetworkSection, Settings

hef, index, precision, kind, *images = sys.argv[1:]

# one inference in single precision takes 17 s of processor time under qemu
identification.RECOGNITION_TIMEOUT_S = 3600.0
model.self_test = partial(model.self_test, timeout_s=3600.0)

settings = Settings(
    network=NetworkSection(model=Path(hef, "convnext-tiny-bn"), precision=precision, threads=1),
    locate=LocateSection(model=Path(hef, "card-locator")),
    index=IndexSection(directory=Path(index)),
)
located = open_locate(settings.locate) if kind == "photos" else nullcontext()
with located as locate, open_recognizer(settings) as recognizer:
    for answer in identification.identify_images(map(Path, images), recognizer, identification.IdentifyOptions(locate=locate, top_k=5)):
        print(answer.model_dump_json(), flush=True)  # noqa: T201 - its result
