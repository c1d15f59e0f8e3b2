"""``python -m edge`` is the ``cardedge`` command."""

from edge.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
