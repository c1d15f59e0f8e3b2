"""Write the JSON Schemas of all MQTT payloads to ``docs/schema/``, from the models in ``edge``.

    python -m tools.make_schemas            write them
    python -m tools.make_schemas --check    exit 1 when one is out of date, naming it

Published payloads allow additional fields (additive changes are part of the contract); requests allow none.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from edge.cli.arguments import CommandLineParser
from edge.publishing.command import COMMAND_ARGUMENTS, CommandReply
from edge.publishing.discovery import IndexUpdate
from edge.publishing.event import CardEvent
from edge.publishing.state import CardsState, ControlsState, HealthState, IndexState, LastCardState, ModelState

SCHEMAS: Final = Path(__file__).resolve().parent.parent / "docs" / "schema"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

SENT: Final[Mapping[str, type[BaseModel]]] = {
    "event": CardEvent,
    "state-cards": CardsState,
    "state-last_card": LastCardState,
    "state-index": IndexState,
    "state-model": ModelState,
    "state-controls": ControlsState,
    "health": HealthState,
    "ha-index": IndexUpdate,
    "reply": CommandReply,
}
"""Payload of each topic; ``/`` is ``-`` in the file's name."""


def schemas() -> dict[str, str]:
    """Return the text of every schema file by its name."""
    models = {f"{name}.schema.json": model.model_json_schema(mode="serialization") for name, model in SENT.items()}
    models |= {f"cmd-{name.replace('/', '-')}.schema.json": model.model_json_schema() for name, model in COMMAND_ARGUMENTS.items()}
    return {name: json.dumps(_dressed(schema), indent=2, ensure_ascii=False) + "\n" for name, schema in models.items()}


def outdated(folder: Path = SCHEMAS) -> list[str]:
    """Return the names of files that are missing, differ, or describe nothing any more."""
    wanted = schemas()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def write(folder: Path = SCHEMAS) -> None:
    """Write all schemas and remove those that describe nothing any more."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check."""
    parser = CommandLineParser(description="Write the JSON Schemas of all MQTT payloads to docs/schema/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    for name in (late := outdated()):
        print(f"docs/schema/{name} is out of date; run `python -m tools.make_schemas`")
    return 1 if late else 0


def _dressed(schema: dict[str, Any]) -> dict[str, Any]:
    """Name the dialect and join the lines of the models' docstrings."""
    return {"$schema": DIALECT} | {key: _one_line(key, value) for key, value in schema.items()}


def _one_line(key: str, value: object) -> object:
    if key == "description" and isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, dict):
        return {name: _one_line(name, part) for name, part in value.items()}
    if isinstance(value, list):
        return [_one_line("", part) for part in value]
    return value


if __name__ == "__main__":
    raise SystemExit(main())
