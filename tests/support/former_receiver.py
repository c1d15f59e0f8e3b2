"""Run a command of cardedge as a device whose push protocol and bundle formats are those of version 0.1.0.

python -m tests.support.former_receiver index receive --config FILE
"""

import sys
from typing import Annotated

from pydantic import Field, TypeAdapter

from edge.bundles import manifest
from edge.cli import index_receive, main
from edge.receiving.messages import Chunk, Commit, ConfirmRequest, ListRequest, Offer, PruneRequest, RollbackRequest, StatusRequest

KNOWN = StatusRequest | ListRequest | Offer | Chunk | Commit | ConfirmRequest | RollbackRequest | PruneRequest

if __name__ == "__main__":
    manifest.FORMAT_VERSION = 2
    index_receive.REQUESTS = TypeAdapter(Annotated[KNOWN, Field(discriminator="kind")])
    sys.exit(main.main(sys.argv[1:]))
