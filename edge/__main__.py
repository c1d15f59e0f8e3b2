"""``python -m edge`` is the ``cardedge`` command."""

from edge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
