"""What the documents promise exists: commands, options, tools, settings keys, files."""

import argparse
import re
from pathlib import Path

import pytest

from edge.cli.main import build_parser
from edge.publishing.event import CardEvent
from edge.settings.file import field_at
from edge.settings.sections import Settings
from tests.support.paths import ROOT

DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("hef/README.md"), *ROOT.glob("index/README.md")]
    if path.is_file()
)
COMMAND = re.compile(r"(?:^|[\s`/])cardedge ([a-z]+)(?: ([a-z]+))?([^`\n]*)")
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def code_in(document: Path) -> list[str]:
    """All code of a document: lines of blocks (fenced or indented) and what stands in backticks."""
    lines, code, fenced = document.read_text(encoding="utf-8").splitlines(), [], False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            code.append(line)
        else:
            code += re.findall(r"`([^`]+)`", line)
    return code


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next((action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {})


def promises(document: Path) -> list[str]:
    """What a document says about ``cardedge`` and its parser does not know."""
    broken = []
    for line in code_in(document):
        for command, word, rest in COMMAND.findall(line.replace("-u cardedge ", "")):  # the system user bears the same name
            parser = subparsers(build_parser()).get(command)
            if parser is None:
                broken.append(f"cardedge {command}")
                continue
            actions = subparsers(parser)
            parser = actions.get(word, parser)
            if actions and word and word not in actions:
                broken.append(f"cardedge {command} {word}")
            known = {option for action in parser._actions for option in action.option_strings}
            broken += [f"cardedge {command} {option}" for option in re.findall(r"(?<!\S)--[a-z-]+", rest) if option not in known]
    return broken


@each_document
def test_commands_and_options_exist(document):
    assert promises(document) == []


def test_a_broken_promise_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Run `cardedge dance`, `cardedge index shred`, or\n\n    cardedge check --jsn\n    cardedge identify a.png --index x --json\n"
    )
    assert promises(page) == ["cardedge dance", "cardedge index shred", "cardedge check --jsn"]


@each_document
def test_tools_and_modules_exist(document):
    named = {name for line in code_in(document) for name in re.findall(r"python3? -m ((?:tools|edge)[\w.]*)", line)}
    missing = [
        name
        for name in named
        if not (ROOT / f"{name.replace('.', '/')}.py").is_file() and not (ROOT / name.replace(".", "/") / "__main__.py").is_file()
    ]
    assert missing == []


def bare_tools(document: Path) -> list[str]:
    """Command lines of a document that need the environment of the clone, where neither they nor the document name it."""
    text = document.read_text(encoding="utf-8")
    lines = [line.strip() for line in code_in(document) if line.startswith("    ")]
    return [line for line in lines if re.match(r"(?:python -m (?:tools|edge)|pytest)\b", line) and "source .venv/bin/activate" not in text]


@each_document
def test_command_lines_of_a_clone_name_its_environment(document):
    assert bare_tools(document) == []


def test_a_command_line_without_its_environment_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("    .venv/bin/python -m tools.film\n    python -m tools.film\n    pytest -m slow\n")
    assert bare_tools(page) == ["python -m tools.film", "pytest -m slow"]
    page.write_text("Run `source .venv/bin/activate`, then\n\n    python -m tools.film\n")
    assert bare_tools(page) == []


@each_document
def test_settings_keys_exist(document):
    sections = "|".join(Settings.model_fields)
    named = {key for line in code_in(document) for key in re.findall(rf"^(?:{sections})(?:\.[a-z0-9_]+)+$", line.strip())}
    files = {name for name in named if (ROOT / name).exists() or name.endswith((".md", ".py", ".toml"))}
    assert [key for key in sorted(named - files) if field_at(tuple(key.split("."))) is None] == []


@each_document
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (document.parent / link).exists()] == []


def test_the_readme_shows_a_real_payload():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    payloads = [block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if "cardedge.event/1" in block]
    assert payloads
    for payload in payloads:
        event = CardEvent.model_validate_json(payload)
        assert event.device_id


def test_the_readme_lists_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in subparsers(build_parser()) if f"cardedge {command}" not in text] == []
