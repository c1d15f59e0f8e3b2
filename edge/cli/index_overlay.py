"""``cardedge index add | added | remove | export | refresh``: the cards that were added on this device."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from edge.app.index import bundle_loader, graph_writer
from edge.app.model import load_model
from edge.bundles.bundle import Bundle
from edge.cli.arguments import add_model_option
from edge.cli.output import print_json, print_line
from edge.errors import BundleError, ExitCode, UsageError
from edge.index import overlay, releases
from edge.index.change import NewCard
from edge.index.loading import image_to_add
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.settings.sections import NetworkSection
from edge.vision.image_file import read_image
from edge.vision.locate import LocateSettings

_TAKEN_UP: Final = "a running daemon takes it up within a second"


def add_actions(
    add: Callable[[str, Callable[[argparse.Namespace], ExitCode], str], argparse.ArgumentParser],
    index_option: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the actions to ``cardedge index``; ``add`` makes an action's parser and ``index_option`` gives it ``--index``."""
    adding = add("add", _add, "Add a card, or another picture of one, to this device; it survives updates of the bundle.")
    adding.add_argument("--image", type=Path, required=True, metavar="FILE", help="a photo that shows exactly one card, its top up")
    adding.add_argument("--rectified", action="store_true", help="the image is the upright card, edge to edge")
    adding.add_argument("--card-id", required=True, metavar="ID", help="the id it is reported by")
    adding.add_argument("--name", required=True, help="its name")
    for fact in ("set", "number", "rarity", "language"):
        adding.add_argument(f"--{fact}", metavar="TEXT", help=f"its {fact}")
    listing = add("added", _added, "List the cards that were added on this device.")
    removing = add("remove", _remove, "Remove a card that was added on this device.")
    removing.add_argument("card_id", nargs="?", metavar="ID", help="its id")
    removing.add_argument("--all", action="store_true", help="everything that was added, also when it is damaged")
    exporting = add(
        "export", _export, "Write the added cards to a new folder: a card list and pictures, as tools/build_index.py reads them."
    )
    exporting.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder, which must not exist")
    refreshing = add("refresh", _refresh, "Embed the added cards again, after the network was changed.")
    for parser in (adding, refreshing):
        add_model_option(parser)
    for parser in (adding, listing, removing, exporting, refreshing):
        index_option(parser)


def _add(args: argparse.Namespace) -> ExitCode:
    root = _root(args)
    wanted = NewCard(
        args.card_id,
        args.name,
        lambda: read_image(args.image),
        rectified=args.rectified,
        set=args.set,
        number=args.number,
        rarity=args.rarity,
        language=args.language,
    )
    # whatever is wrong with the picture is said before the network is opened, which takes seconds
    picture = image_to_add(wanted, _known(root), LocateSettings())
    with load_model(NetworkSection(model=args.model)) as loaded:
        overlay.add_images(root, [picture], bundle_loader(loaded).overlay_writer(loaded.embed))
    pictures = len(overlay.read_images(root))
    if args.json:
        print_json({"added": args.card_id, "pictures": pictures})
    else:
        print_line(f"{args.card_id} added; {pictures} picture{'s' if pictures > 1 else ''} of added cards; {_TAKEN_UP}")
    return ExitCode.OK


def _added(args: argparse.Namespace) -> ExitCode:
    cards: dict[CardId, Card] = {}
    pictures: dict[CardId, int] = {}
    for picture in overlay.read_images(_root(args)):
        cards.setdefault(picture.card.card_id, picture.card)
        pictures[picture.card.card_id] = pictures.get(picture.card.card_id, 0) + 1
    for card_id, card in cards.items():
        if args.json:
            facts = {"card_id": card_id, "name": card.name, "set": card.set, "number": card.number}
            print_json({**facts, "rarity": card.rarity, "language": card.language, "pictures": pictures[card_id]})
        else:
            print_line(f"{card_id:<16}  {card.name}  ({pictures[card_id]} picture{'s' if pictures[card_id] > 1 else ''})")
    return ExitCode.OK


def _remove(args: argparse.Namespace) -> ExitCode:
    if (args.card_id is None) != args.all:
        raise UsageError("index remove: give either the ID of a card or --all; see `cardedge index added`")
    if args.all:
        overlay.remove_all(_root(args))
    else:
        overlay.remove_card(_root(args), args.card_id, graph_writer())
    what = "all" if args.all else args.card_id
    if args.json:
        print_json({"removed": what})
    else:
        print_line(f"{what} removed; {_TAKEN_UP}")
    return ExitCode.OK


def _export(args: argparse.Namespace) -> ExitCode:
    pictures = overlay.export(_root(args), args.out)
    if args.json:
        print_json({"exported": pictures, "folder": str(args.out)})
    else:
        print_line(
            f"{pictures} picture{'s' if pictures > 1 else ''} in {args.out}; build with --images {args.out} --cards {args.out}/cards.csv"
        )
    return ExitCode.OK


def _refresh(args: argparse.Namespace) -> ExitCode:
    root = _root(args)
    with load_model(NetworkSection(model=args.model)) as loaded:
        pictures = overlay.refresh(root, bundle_loader(loaded).overlay_writer(loaded.embed))
        model_id = loaded.model.model_id
    if args.json:
        print_json({"refreshed": pictures, "model_id": model_id})
    else:
        print_line(f"{pictures} picture{'s' if pictures != 1 else ''} embedded by network {model_id}; {_TAKEN_UP}")
    return ExitCode.OK


def _root(args: argparse.Namespace) -> Path:
    """Return the device's index, which alone can have added cards."""
    root: Path = args.index
    if not releases.is_root(root):
        raise BundleError(f"{root}: is no device's index (it has no `releases/`); name that with --index, or activate a bundle there first")
    return root


def _known(root: Path) -> Mapping[CardId, Card]:
    """Return the cards of the release that serves, none where none does."""
    if releases.current_id(root) is None:
        return {}
    release: Bundle = releases.open_index(root)
    return release.gallery.cards
