"""update_lock without a network: what it writes, and what it says of vulnerabilities, with stand-ins for uv and pip-audit."""

import json
import sys

import pytest

from tools import update_lock

HASH = f"--hash=sha256:{'0' * 64}"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Modules ``uv`` and ``pip_audit`` that run the given text, and locks in a folder of the test."""
    locks = tmp_path / "lock"
    locks.mkdir()
    monkeypatch.setattr(update_lock, "LOCKS", locks)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(module, text):
        (tmp_path / f"{module}.py").write_text(f"import sys\n{text}\n")

    yield write
    for module in ("uv", "pip_audit"):
        sys.modules.pop(module, None)


def audit_report(**library):
    return f"print({json.dumps(json.dumps({'dependencies': [library]}))})"


UV = f"""
if sys.argv[2] == "compile":
    target = sys.argv[sys.argv.index("--output-file") + 1]
    open(target, "w").write("".join(f"{{name}}==1.0 {HASH}\\n" for name in ("hnswlib", "numpy", "other")))
"""


def test_the_versions_are_divided_among_the_locks(programs, capsys):
    programs("uv", UV)
    programs("pip_audit", audit_report(name="other", version="1.0", vulns=[]))
    assert update_lock.main([]) == 0
    written = {path.stem: update_lock.pinned(path.read_text()) for path in update_lock.LOCKS.iterdir()}
    assert written == {
        "scanner": ["other==1.0"],
        "scanner-numpy1": ["other==1.0"],
        "numpy": ["numpy==1.0"],
        "source": ["hnswlib==1.0"],
        "build": ["hnswlib==1.0", "other==1.0"],
        "ocr": [],  # what the scanner has is left out
        "ocr-numpy1": [],
    }
    assert "no known vulnerabilities" in capsys.readouterr().out


def test_a_library_without_a_wheel_changes_no_lock(programs, capsys):
    programs("uv", UV + "elif 'aarch64' in ' '.join(sys.argv): sys.exit('other==1.0 has no wheels with a matching platform')")
    assert update_lock.main([]) == 65
    assert "no wheels with a matching platform" in capsys.readouterr().err
    assert list(update_lock.LOCKS.iterdir()) == []


def test_a_known_vulnerability_is_named_with_the_version_that_mends_it(programs, capsys):
    (update_lock.LOCKS / "scanner.txt").write_text(f"other==1.0 {HASH}\n")
    known = {"id": "CVE-2026-1", "fix_versions": ["1.1"]}
    programs("pip_audit", audit_report(name="other", version="1.0", vulns=[known]) + "\nsys.exit(1)")
    assert update_lock.main(["--audit"]) == 65
    assert capsys.readouterr().out == "other 1.0: CVE-2026-1, fixed in 1.1\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sys.exit('no route to host')", "pypi: no route to host; osv: no route to host"),
        (audit_report(name="other", skip_reason="not found"), "pypi: 1 of 1 libraries are unknown there: not found; osv: 1 of 1"),
    ],
    ids=["no answer", "unknown there"],
)
def test_services_that_do_not_answer_are_no_clean_result(programs, capsys, text, reason):
    (update_lock.LOCKS / "scanner.txt").write_text(f"other==1.0 {HASH}\n")
    programs("pip_audit", text)
    assert update_lock.main(["--audit"]) == 69
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert f"scanner.txt was not examined ({reason}" in errors
    assert "on a machine that reaches https://pypi.org" in errors


def test_the_second_service_examines_what_the_first_does_not_know(programs, capsys):
    (update_lock.LOCKS / "scanner.txt").write_text(f"other==1.0 {HASH}\n")
    known = {"id": "CVE-2026-1", "fix_versions": []}
    answer = audit_report(name="other", version="1.0", vulns=[known])
    programs("pip_audit", f"if sys.argv[-1] == 'pypi': sys.exit('no route to host')\n{answer}\nsys.exit(1)")
    assert update_lock.main(["--audit"]) == 65
    assert capsys.readouterr() == ("other 1.0: CVE-2026-1, fixed in no version yet\n", "")


def test_a_vulnerability_is_named_although_another_lock_was_not_examined(programs, capsys):
    for name in ("build", "scanner"):
        (update_lock.LOCKS / f"{name}.txt").write_text(f"other==1.0 {HASH}\n")
    known = {"id": "CVE-2026-1", "fix_versions": ["1.1"]}
    answer = audit_report(name="other", version="1.0", vulns=[known])
    programs("pip_audit", f"if 'scanner' in ' '.join(sys.argv): sys.exit('no route to host')\n{answer}\nsys.exit(1)")
    assert update_lock.main(["--audit"]) == 65
    printed, errors = capsys.readouterr()
    assert "CVE-2026-1" in printed
    assert "scanner.txt was not examined" in errors
