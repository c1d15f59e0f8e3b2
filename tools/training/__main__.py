"""Train an embedding network in stages; also runs under ``torchrun``."""

import sys

from tools.training.cli import main

if __name__ == "__main__":
    sys.exit(main())
