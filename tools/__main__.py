"""List the commands of the workstation, each with one line: ``python -m tools``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent


def commands() -> Iterator[tuple[str, str]]:
    """Yield the name of each command and the first line of its docstring, by name. Imports no command."""
    modules = [path for path in _FOLDER.glob("*.py") if not path.name.startswith("__")]
    packages = list(_FOLDER.glob("*/__main__.py"))
    for path in sorted([*modules, *packages], key=_name):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if _runs(tree):
            yield _name(path), (ast.get_docstring(tree) or "").partition("\n")[0].replace("``", "")


def main() -> int:
    """Print the list; return the exit status."""
    print("Commands, each started with python -m tools.NAME; see python -m tools.NAME --help:\n")
    listed = list(commands())
    width = max(len(name) for name, _ in listed)
    for name, line in listed:
        print(f"  {name:<{width}}  {line}")
    return 0


def _name(path: Path) -> str:
    return path.parent.name if path.name == "__main__.py" else path.stem


def _runs(tree: ast.Module) -> bool:
    """Return whether the module starts something when it is run as a program."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


if __name__ == "__main__":
    sys.exit(main())
