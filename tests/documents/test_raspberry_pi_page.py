"""docs/raspberry-pi.md quotes what the program says; here it is held to that."""

import re

import pytest

from edge.system.npu import FAILURE_RULES
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "raspberry-pi.md").read_text(encoding="utf-8")
IN_ONE_LINE = re.sub(r"\s+", " ", re.sub(r"(?m)^> ", "", PAGE))


@pytest.mark.parametrize("rule", FAILURE_RULES, ids=lambda rule: rule.advice[:30])
def test_what_the_npu_says_stands_there_word_for_word(rule):
    assert rule.advice in IN_ONE_LINE


def test_nothing_else_is_quoted_as_the_npu_s():
    quoted = {re.sub(r"\s+", " ", part).strip() for part in re.findall(r"(?m)(?:^> .*\n)+", PAGE)}
    quoted = {re.sub(r"(^|\s)> ", r"\1", part) for part in quoted}
    assert quoted == {rule.advice for rule in FAILURE_RULES}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("install.sh", "is active again"),
        ("tools/verify_hef.py", "identical output"),
        ("tools/verify_hef.py", "DIFFERENT output"),
        ("tests/support/hardware.py", "HailoRT's Python package is not installed (apt install hailo-all)"),
        ("tests/support/hardware.py", "no compiled network found: "),
        ("edge/app/diagnostics.py", "check cable and address"),
        ("systemd/install/hardware.sh", "dtparam=pciex1_gen=3"),
        ("systemd/install/hardware.sh", "cgroup_enable=memory"),
    ],
)
def test_other_quotations_are_true(file, said):
    text = (ROOT / file).read_text(encoding="utf-8")
    if file == "install.sh":
        text += (ROOT / "systemd/install/service.sh").read_text(encoding="utf-8")
    assert said in text
    assert said in IN_ONE_LINE


def test_every_option_of_the_installer_that_is_named_exists():
    usage = (ROOT / "install.sh").read_text(encoding="utf-8")
    named = set(re.findall(r"install\.sh[^\n`]*?(--[a-z-]+)", PAGE)) | set(re.findall(r"`(--(?:purge|test-board|wheelhouse)[a-z-]*)", PAGE))
    assert len(named) >= 8
    assert {option for option in named if f"  {option}" not in usage} == set()
