"""`python -m tools` lists what can be started."""

import importlib
import tomllib

import pytest

from tests.support.paths import ROOT
from tools.__main__ import commands, main

LISTED = dict(commands())


def test_every_command_is_listed_with_one_line(capsys):
    assert main() == 0
    printed = capsys.readouterr().out
    assert {"build_index", "push_index", "training", "demo"} <= LISTED.keys()
    assert not {"extras", "__main__"} & LISTED.keys()
    for name, line in LISTED.items():
        assert line.endswith("."), name
        assert f"  {name} " in printed
        assert line in printed


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_listed_command_can_be_started(name):
    assert hasattr(importlib.import_module(f"tools.{name}"), "main") or (ROOT / "tools" / name / "__main__.py").is_file()


def test_the_import_contract_knows_every_command():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (forbidden,) = (contract["forbidden_modules"] for contract in contracts if contract["name"] == "tools: no family imports a command")
    assert set(forbidden) == {f"tools.{name}" for name in LISTED} - {"tools.training"}
