"""Make and sign the list of signers that scanners trust: add, replace and revoke technicians.

    python -m tools.sign_signers signers.json --key ROOT_KEY [--begin-with allowed_signers] [--add NAME=KEY.pub]... [--revoke WHAT]...

Changes the list in signers.json (or begins it) and signs it as its next version, in the namespace cardedge-signers. WHAT is a name, a
fingerprint SHA256:… or a file KEY.pub; a name's keys are put into the revocation list, and its SSH connections are refused. Push the list
with `python -m tools.push_index signers signers.json HOST...`, or name it in fleet.toml. ROOT_KEY is a key of the scanners'
push.root_signers, or that of an admin (--admin) where the scanners have none.

Exit status: 0 done, 64 wrong name or key, 65 bad file or signing failed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode
from tools.push.signer_list import SignerChanges, update_list


def main(arguments: list[str] | None = None) -> int:
    """Change and sign the list; return the exit status."""
    parser = CommandLineParser(prog="sign_signers", description="Make and sign the list of signers that scanners trust.")
    parser.add_argument("file", type=Path, help="the list, signers.json; a missing one is begun")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key, or public key of one in the agent")
    parser.add_argument("--begin-with", type=Path, metavar="FILE", help="copy the lines of a file of allowed signers first")
    parser.add_argument("--add", type=_named_key, action="append", default=[], metavar="NAME=KEY.pub", help="may sign bundles")
    parser.add_argument("--admin", type=_named_key, action="append", default=[], metavar="NAME=KEY.pub", help="may sign this list too")
    parser.add_argument("--revoke", action="append", default=[], metavar="WHAT", help="a name, SHA256:… or KEY.pub")
    try:
        args = parser.parse_args(arguments)
        new = update_list(args.file, SignerChanges(args.add, args.admin, args.revoke, args.begin_with), args.key)
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except EdgeError as error:
        print(f"sign_signers: {error}", file=sys.stderr)
        return int(error.exit_code)
    signers = sum(bool(line.strip()) and not line.startswith("#") for line in new.allowed_signers.splitlines())
    revoked = f"; no access: {', '.join(new.revoked_technicians)}" if new.revoked_technicians else ""
    print(f"{args.file}: version {new.version}, {signers} signers{revoked}")
    return int(ExitCode.OK)


def _named_key(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=KEY.pub")
    return name, Path(file)


if __name__ == "__main__":
    sys.exit(main())
