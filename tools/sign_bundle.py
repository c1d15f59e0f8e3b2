"""Sign a bundle with an SSH key, so that scanners accept it.

    python -m tools.sign_bundle BUNDLE --key ~/.ssh/id_ed25519

Signs manifest.json, which holds the hash of every file, through `ssh-keygen -Y sign` in the namespace cardedge-index, and writes
manifest.json.sig beside it. For a key in an agent or a security key, give the file of the public key.

Exit status: 0 done, 64 no such key, 65 bad bundle or signing failed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from tools.push.local_bundle import sign_bundle


def main(arguments: list[str] | None = None) -> int:
    """Sign and return the exit status."""
    parser = CommandLineParser(description="Sign a bundle with an SSH key, so that scanners take it.")
    parser.add_argument("bundle", type=Path, help="a bundle's directory")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key, or public key of one in the agent")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as leaving:
        return int(ExitCode.USAGE if leaving.code else ExitCode.OK)
    try:
        print(f"signed: {sign_bundle(args.bundle, args.key)}")
    except EdgeError as error:
        print(f"sign_bundle: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
