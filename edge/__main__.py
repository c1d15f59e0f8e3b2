"""``python -m edge`` runs the ``cardedge`` command."""

from edge.cli.main import entry

if __name__ == "__main__":
    entry()
