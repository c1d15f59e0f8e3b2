"""Run a command of cardedge as a device whose push protocol, bundle formats and signatures are those of version 0.1.0.

python -m tests.support.former_receiver index receive --config FILE
"""

import sys
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from edge.bundles import manifest
from edge.cli import index_receive, main
from edge.errors import ProtocolError
from edge.receiving import acceptance
from edge.receiving.messages import Chunk, Commit, ConfirmRequest, ListRequest, Offer, PruneRequest, RollbackRequest, StatusRequest
from edge.recognition.verification import LUMA_BYTES, LUMA_SIGNATURE_ID

KNOWN = StatusRequest | ListRequest | Offer | Chunk | Commit | ConfirmRequest | RollbackRequest | PruneRequest


class Requests(TypeAdapter):
    """Refuses what it does not know in the words of that version."""

    def validate_python(self, content):
        try:
            return super().validate_python(content)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise ProtocolError(f"a message cannot be understood: message: {problem}; update the older of the two sides") from error


if __name__ == "__main__":
    manifest.FORMAT_VERSION = 2
    acceptance.STORED_BYTES = {LUMA_SIGNATURE_ID: LUMA_BYTES}
    index_receive.REQUESTS = Requests(Annotated[KNOWN, Field(discriminator="kind")])
    sys.exit(main.main(sys.argv[1:]))
