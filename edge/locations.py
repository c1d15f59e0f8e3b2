"""Where networks and bundles are looked for when a command does not name them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edge.errors import BundleError, ModelError
from edge.manifest import MANIFEST_FILE

MODEL_PLACES: Final = (Path(__file__).resolve().parent.parent / "hef", Path("/usr/share/cardedge/hef"))
"""Beside the package in a clone, then where the installation puts networks; the first place that holds any network is the one."""

MODEL_FILE: Final = "model.json"
CURRENT_LINK: Final = "current"


def find_model(named: Path | None, places: tuple[Path, ...] = MODEL_PLACES) -> Path:
    """Return the folder of the network: ``named``, else the single one in the first place that holds any.

    Raises ``ModelError`` when there is none, or more than one to choose from.
    """
    if named is not None:
        if not (named / MODEL_FILE).is_file():
            raise ModelError(f"{named}: no {MODEL_FILE} in it; name the folder of a network, such as hef/convnext-tiny-bn")
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


def find_bundle(directory: Path) -> Path:
    """Return the bundle a person means: ``directory`` itself, or the one its ``current`` link names.

    Raises ``BundleError`` when it is neither.
    """
    for path in (directory, directory / CURRENT_LINK):
        if (path / MANIFEST_FILE).is_file():
            return path
    if not directory.is_dir():
        raise BundleError(f"{directory}: no such folder; name a bundle built by tools/build_index.py")
    if (directory / CURRENT_LINK).is_symlink():
        raise BundleError(f"{directory / CURRENT_LINK}: leads to no bundle; activate one with `cardedge index activate`")
    raise BundleError(f"{directory}: holds no {MANIFEST_FILE} and no `{CURRENT_LINK}` link, so it is no bundle; build one with tools/build_index.py")
