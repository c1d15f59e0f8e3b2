"""``cardedge index add | added | remove | export | refresh``: the cards that were added on the device."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge.app.index import bundle_loader
from edge.app.locator import open_locate
from edge.app.model import load_model
from edge.cli.arguments import AddCommand, add_index_option, add_model_option
from edge.cli.output import print_json, print_line
from edge.errors import BundleError, ExitCode, UsageError
from edge.index import overlay, releases
from edge.index.change import NewCard
from edge.index.loading import image_to_add
from edge.index.overlay_file import OverlayReader
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.settings.sections import LocateSection, NetworkSection
from edge.vision.image_file import read_image

_LOADED_SOON: Final = "a running daemon loads the change within a second"


def add_commands(add: AddCommand) -> None:
    """Add the subcommands for added cards."""
    adding = add("add", _add, "Add a card, or an image of a card, on this device. Added cards survive updates of the bundle.")
    adding.add_argument("--image", type=Path, required=True, metavar="FILE", help="photo of exactly one card, its top edge up")
    adding.add_argument("--rectified", action="store_true", help="the image is the upright card, cropped to its edges")
    adding.add_argument("--card-id", required=True, metavar="ID", help="id that the card is published with")
    adding.add_argument("--name", required=True, help="name of the card")
    for attribute in ("set", "number", "rarity", "language"):
        adding.add_argument(f"--{attribute}", metavar="TEXT", help=f"{attribute} of the card")
    listing = add("added", _added, "List the cards that were added on this device.")
    removing = add("remove", _remove, "Remove a card that was added on this device.")
    removing.add_argument("card_id", nargs="?", metavar="ID", help="id of the card")
    removing.add_argument("--all", action="store_true", help="remove all added cards, even if their files are damaged")
    exporting = add(
        "export", _export, "Export the added cards. Writes a card list and images, as tools/build_index.py reads them, to a new folder."
    )
    exporting.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to create; it must not exist")
    refreshing = add("refresh", _refresh, "Embed the added cards again after a change of the model.")
    for parser in (adding, refreshing):
        add_model_option(parser)
    for parser in (adding, listing, removing, exporting, refreshing):
        add_index_option(parser)


def _add(args: argparse.Namespace) -> ExitCode:
    root = _root(args)
    card = NewCard(
        args.card_id,
        args.name,
        lambda: read_image(args.image),
        rectified=args.rectified,
        set=args.set,
        number=args.number,
        rarity=args.rarity,
        language=args.language,
    )
    # before the model is loaded, which takes seconds: errors in the arguments or the image are reported at once
    with open_locate(LocateSection()) as locate:
        image = image_to_add(card, _known_cards(root), locate)
    reader = OverlayReader()
    with load_model(NetworkSection(model=args.model)) as loaded:
        overlay.add_images(root, [image], bundle_loader(loaded.model, loaded.artifact_sha256).overlay_writer(loaded.embed), reader.rows)
    added = [card.card_id for card in overlay.added_cards(root, reader.rows)]
    card_id = image.card.card_id
    images, of_card = len(added), added.count(card_id)
    if args.json:
        print_json({"added": card_id, "pictures": images})
    else:
        what = f"{card_id} added" if of_card == 1 else f"another image of {card_id} added, it has {of_card} now"
        print_line(f"{what}; the added cards have {_count(images)}; {_LOADED_SOON}")
    return ExitCode.OK


def _added(args: argparse.Namespace) -> ExitCode:
    cards: dict[CardId, Card] = {}
    images: dict[CardId, int] = {}
    for card in overlay.added_cards(_root(args)):
        cards.setdefault(card.card_id, card)
        images[card.card_id] = images.get(card.card_id, 0) + 1
    for card_id, card in cards.items():
        if args.json:
            values = {"card_id": card_id, "name": card.name, "set": card.set, "number": card.number}
            print_json({**values, "rarity": card.rarity, "language": card.language, "pictures": images[card_id]})
        else:
            print_line(f"{card_id:<16}  {card.name}  ({_count(images[card_id])})")
    return ExitCode.OK


def _remove(args: argparse.Namespace) -> ExitCode:
    if (args.card_id is None) != args.all:
        raise UsageError("index remove: give either the ID of a card or --all; see `cardedge index added`")
    if args.all:
        overlay.remove_all(_root(args))
    else:
        overlay.remove_card(_root(args), args.card_id)
    removed = "all" if args.all else args.card_id
    if args.json:
        print_json({"removed": removed})
    else:
        print_line(f"{removed} removed; {_LOADED_SOON}")
    return ExitCode.OK


def _export(args: argparse.Namespace) -> ExitCode:
    images = overlay.export(_root(args), args.out)
    if args.json:
        print_json({"exported": images, "folder": str(args.out)})
    else:
        print_line(f"{_count(images)} exported to {args.out}; build with --images {args.out} --cards {args.out}/cards.csv")
    return ExitCode.OK


def _refresh(args: argparse.Namespace) -> ExitCode:
    root = _root(args)
    with load_model(NetworkSection(model=args.model)) as loaded:
        images = overlay.refresh(root, bundle_loader(loaded.model, loaded.artifact_sha256).overlay_writer(loaded.embed))
        model_id = loaded.model.model_id
    if args.json:
        print_json({"refreshed": images, "model_id": model_id})
    else:
        print_line(f"{_count(images)} embedded with model {model_id}; {_LOADED_SOON}")
    return ExitCode.OK


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def _root(args: argparse.Namespace) -> Path:
    """Return the device index. Raises ``BundleError`` for a plain bundle, to which no card can be added."""
    root: Path = args.index
    if not releases.is_root(root):
        raise BundleError(f"{root}: not a device index (no `releases/` in it); name one with --index, or activate a bundle there first")
    return root


def _known_cards(root: Path) -> Mapping[CardId, Card]:
    """Return the cards of the active release, empty if no release is active."""
    if releases.current_id(root) is None:
        return {}
    return releases.open_index(root).gallery.cards
