"""``python -m edge`` runs the ``cardedge`` command."""

from edge.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
