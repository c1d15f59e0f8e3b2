"""Check the images of a card list before a bundle is built from them.

    python -m tools.inspect_images --images DIR [--cards cards.csv] [--report FILE] [--strict] [--json]

Lists every image that a build would leave out (unreadable, too small, sideways, odd shape, uncropped, blank, blurred, a placeholder under
many names, repeated) and every other finding (one image under two names, duplicates, shared artwork). Without --cards every image in the
folder is treated as a separate card. Nothing in the folder is changed.

Exit status: 0 done, 64 usage, 65 bad list, no usable image, or (--strict) a mistake.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
from tqdm import tqdm

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from tools.bundle_build.card_list import CardList, list_folder, read_card_list
from tools.bundle_build.finding import ImageFinding
from tools.bundle_build.grouping import gallery_of
from tools.bundle_build.inspection import count_by_kind, in_list_order, refuse, unusable_rows
from tools.bundle_build.report import write_report
from tools.bundle_build.set_checks import artwork_findings, check_set
from tools.bundle_build.stages import Advance, examine_images


def inspect_images(card_list: CardList, images: Path, *, threads: int, advance: Advance) -> tuple[ImageFinding, ...]:
    """Return the findings about the images of a list, in its order. ``advance`` is called after each image."""
    examined = examine_images(card_list.rows, images, threads=threads, advance=advance)
    entries = examined.with_findings(check_set(examined.rows, examined.references))
    gallery = gallery_of(entries, groups_given=card_list.groups_given)
    return in_list_order((*unusable_rows(card_list), *entries.findings, *artwork_findings(entries.rows, entries.references, gallery)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    cv2.setNumThreads(1)  # images are small and many: whole images run side by side
    try:
        card_list = read_card_list(args.cards) if args.cards else list_folder(args.images)
        with tqdm(total=len(card_list.rows), unit="picture", desc="looking", file=sys.stderr, disable=None) as bar:
            findings = inspect_images(card_list, args.images, threads=args.threads, advance=bar.update)
        if args.report:
            write_report(args.report, findings, card_list)
        print(_as_json(card_list, findings) if args.json else _as_text(card_list, findings))
        refuse(findings, card_list, strict=args.strict)
    except EdgeError as error:
        print(f"inspect_images: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="inspect_images", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths are relative to")
    parser.add_argument("--cards", type=Path, metavar="CSV", help="the card list (default: every image in the folder)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page with every image that is named")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, choices=range(1, 257), metavar="N", help="images read side by side"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 65 when the list or an image has a mistake")
    parser.add_argument("--json", action="store_true", help="one JSON object about the list on standard output")
    return parser


def _as_text(card_list: CardList, findings: Sequence[ImageFinding]) -> str:
    lines = [f"line {finding.row.line}: {finding.kind}: {finding.reason}" for finding in findings]
    left_out = sum(finding.left_out for finding in findings)
    lines.append(f"{card_list.row_count} images, {left_out} to be left out" + (f": {count_by_kind(findings)}" if findings else ""))
    return "\n".join(lines)


def _as_json(card_list: CardList, findings: Sequence[ImageFinding]) -> str:
    left_out = sum(finding.left_out for finding in findings)
    facts = {"cards": str(card_list.path), "pictures": card_list.row_count, "left_out": left_out}
    return json.dumps({**facts, "findings": [finding.as_record() for finding in findings]}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
