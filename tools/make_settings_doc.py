"""Write docs/settings.md from the settings models, so that the page and the program cannot disagree.

python -m tools.make_settings_doc            # write it
python -m tools.make_settings_doc --check    # exit 1 when it is out of date
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import PydanticUndefined

from edge.cli.arguments import CommandLineParser
from edge.settings.file import DEFAULT_SETTINGS_FILE, allowed_values, section_model
from edge.settings.sections import Settings

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

INTRODUCTION: Final = f"""\
# Settings

`cardedge run` and `cardedge check` read `{DEFAULT_SETTINGS_FILE}`, or the file named with `--config`.
The format is [TOML](https://toml.io): sections in brackets, one `key = value` per line, strings in quotes.
Every section and key is optional. Unknown keys are errors.
An unknown key or an invalid value stops the program with exit status 78 and a message that names the file, the line, the key, the value
and what is allowed.
Test a file with `cardedge check --config FILE`.

```toml
[camera]
kind = "v4l2"
source = "/dev/video0"

[mqtt]
host = "broker.lan"
username = "cardedge"
password_file = "/etc/cardedge/mqtt.pw"
```

Relative paths are relative to the working directory of the program.
The suffix of a key is its unit: `_s` seconds, `_us` microseconds, `_px` pixels; `_share` and `_ratio` are fractions.
`systemctl reload cardedge` (SIGHUP) reads the file again.

**Passwords** do not belong in this file.
The broker's password is read from the file named by `mqtt.password_file`, otherwise from the systemd credential `mqtt-password`;
that of a network camera from `camera.password_file`, otherwise from `camera-password`.
`camera.source` is then the URL without user name and password, and the password may contain any character.
User names, passwords and query parameters of URLs are left out of logs, messages, health and the web page.

**The model** is the folder named by `network.model`. If the key is absent, it is the only folder with a `model.json` in `hef/` beside the
program, otherwise in `hef/` of the installed version (`/opt/cardedge/current/hef`).
If there are several, the program stops with an error.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = CommandLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is out of date")
    args = parser.parse_args(arguments)
    text = settings_page()
    if args.check:
        up_to_date = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name} is {'up to date' if up_to_date else 'out of date: run python -m tools.make_settings_doc'}")
        return 0 if up_to_date else 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def settings_page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(_section(name, model) for name, model in sections(Settings))


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Return every section with its dotted name, outer ones first."""
    for name, field in model.model_fields.items():
        if inner := section_model(field):
            yield prefix + name, inner
            yield from sections(inner, f"{prefix}{name}.")


def plain_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys of a section that are no sections themselves."""
    return {name: field for name, field in model.model_fields.items() if section_model(field) is None}


def _section(name: str, model: type[BaseModel]) -> str:
    rows = "".join(
        f"| `{key}` | {_cell(field.description or '')} | {_default(field)} | {_cell(allowed_values(field))} |\n"
        for key, field in plain_keys(model).items()
    )
    about = (model.__doc__ or "").strip()
    return f"\n## [{name}]\n\n{about}\n\n| key | meaning | default | allowed |\n|---|---|---|---|\n{rows}"


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value is PydanticUndefined:
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    return f'`"{value}"`' if isinstance(value, str | Path) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    raise SystemExit(main())
