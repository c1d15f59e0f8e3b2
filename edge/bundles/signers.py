"""The list of signers that is pushed to scanners: who may sign bundles, which keys are revoked, and who may no longer connect.

It is one file of JSON, ``SignedList``: the list as text and an SSH signature of this text in the namespace ``cardedge-signers``.
"""

from __future__ import annotations

import json
from typing import Final, Literal, TypeVar

from pydantic import AwareDatetime, Base64Bytes, Field, PositiveInt, ValidationError

from edge.bundles.signature import SignedContent
from edge.errors import BundleError
from edge.schema import Schema, first_problem

_Parsed = TypeVar("_Parsed", bound=Schema)

SIGNERS_FILE: Final = "signers.json"
SIGNERS_MAX_BYTES: Final = 1 << 19
"""Half of what one message can carry; a thousand keys have about 150 kB."""

SIGNERS: Final = SignedContent("cardedge-signers", "the list of signers", SIGNERS_FILE, "tools.sign_signers")


class SignerList(Schema):
    """The list. A device never accepts one with a smaller ``version`` than it has.

    ``allowed_signers`` has the format of ssh-keygen(1), ALLOWED SIGNERS, ``krl`` is a key revocation list for ``ssh-keygen -r``.
    ``revoked_technicians`` are names in ``--technician`` of a device's ``authorized_keys``: their connections are refused.
    """

    schema_: Literal["cardedge.signers/1"] = Field("cardedge.signers/1", alias="schema")
    version: PositiveInt
    created: AwareDatetime
    allowed_signers: str
    krl: Base64Bytes | None = None
    revoked_technicians: tuple[str, ...] = ()


class SignedList(Schema):
    """The file: ``content`` is a ``SignerList`` as JSON text, ``signature`` the armored SSH signature of exactly this text."""

    content: str
    signature: str

    def parsed(self) -> SignerList:
        """Return the list, whose signature is not checked here. Raises ``BundleError``."""
        return _parse(SignerList, self.content, "the list of signers")


def parse_signed_list(data: bytes, where: str) -> SignedList:
    """Return the file in ``data``; ``where`` names it in errors. Raises ``BundleError``."""
    if len(data) > SIGNERS_MAX_BYTES:
        raise BundleError(f"{where}: {len(data)} bytes, a list of signers has at most {SIGNERS_MAX_BYTES}; remove revoked keys of long ago")
    return _parse(SignedList, data, where)


def _parse(kind: type[_Parsed], text: str | bytes, where: str) -> _Parsed:
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        raise BundleError(f"{where}: {first_problem(error, 'file')}; make it with tools.sign_signers") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({error}); make it with tools.sign_signers") from error
