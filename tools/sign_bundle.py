"""Sign a bundle with an SSH key, so that scanners accept it.

    python -m tools.sign_bundle BUNDLE --key ~/.ssh/id_ed25519 [--counter N | --counter-file FILE] [--expires YYYY-MM-DD]

Signs manifest.json, which holds the hash of every file, through `ssh-keygen -Y sign` in the namespace cardedge-index, and writes
manifest.json.sig beside it. A counter is written into the manifest first: scanners take a bundle with a smaller one for older, whatever
its date. FILE holds the last counter; each signing increases it, so that several technicians can share it. For a key in an agent or a
security key, give the file of the public key.

Exit status: 0 done, 64 no such key, 65 bad bundle, bad counter file or signing failed.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import DataError, EdgeError, ExitCode
from edge.system.files import locked
from tools.push.local_bundle import sign_bundle

_COUNTER_WAIT_S: Final = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Sign and return the exit status."""
    parser = CommandLineParser(description="Sign a bundle with an SSH key, so that scanners take it.")
    parser.add_argument("bundle", type=Path, help="a bundle's directory")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key, or public key of one in the agent")
    counting = parser.add_mutually_exclusive_group()
    counting.add_argument("--counter", type=positive_count, metavar="N", help="number of this publication, larger than all before")
    counting.add_argument("--counter-file", type=Path, metavar="FILE", help="take the number after the one in FILE, and store it there")
    parser.add_argument("--expires", type=_end_of_day, metavar="YYYY-MM-DD", help="scanners warn after this day, and go on")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as leaving:
        return int(ExitCode.USAGE if leaving.code else ExitCode.OK)
    try:
        print(f"signed: {_sign(args)}")
    except EdgeError as error:
        print(f"sign_bundle: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


def _sign(args: argparse.Namespace) -> Path:
    if args.counter_file is None:
        return sign_bundle(args.bundle, args.key, counter=args.counter, expires=args.expires)
    try:
        with locked(args.counter_file, wait_s=_COUNTER_WAIT_S):
            counter = _read_counter(args.counter_file) + 1
            signature = sign_bundle(args.bundle, args.key, counter=counter, expires=args.expires)
            args.counter_file.write_text(f"{counter}\n", encoding="ascii")
    except OSError as error:
        raise DataError(f"{args.counter_file}: cannot be used ({error.strerror or error}); give another --counter-file") from error
    return signature


def _read_counter(path: Path) -> int:
    """Return the number in a counter file, 0 for an empty one."""
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not text.isdigit() and text:
        raise DataError(f"{path}: {text[:40]!r} is not a number; write the last counter into it")
    return int(text or 0)


def _end_of_day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2027-03-31") from None


if __name__ == "__main__":
    sys.exit(main())
