"""Where the network is looked for when nobody names it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from edge.errors import ModelError
from edge.recognition.model import MODEL_FILE

MODEL_PLACES: Final = (Path(__file__).resolve().parents[2] / "hef", Path(sys.prefix) / "hef")
"""Beside the package in a clone, then beside the environment of an installed version; the first place that holds any network is the one."""


def find_model(named: Path | None, places: tuple[Path, ...] = MODEL_PLACES) -> Path:
    """Return the folder of the network: ``named``, else the single one in the first place that holds any.

    Raises ``ModelError`` when there is none, or more than one to choose from.
    """
    if named is not None:
        return named
    for place in places:
        found = sorted(path.parent for path in place.glob(f"*/{MODEL_FILE}"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise ModelError(f"{place}: holds several networks ({names}); name one with --model, or network.model in the settings file")
        if found:
            return found[0]
    looked = ", ".join(str(place) for place in places)
    raise ModelError(f"no network found (looked in {looked}); name its folder with --model, or network.model in the settings file")
