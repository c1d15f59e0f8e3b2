"""The extras of a scanner: asked for once, kept by later versions."""

import subprocess

from tests.support.paths import ROOT


def test_an_extra_is_kept_by_later_versions_until_it_is_left_out(machine):
    asked = machine.run("with_extras=' ocr'\nlocks\nversion_id")
    plain = machine.run("locks\nversion_id")
    assert "ocr" in asked.stdout.split()
    assert "ocr" not in plain.stdout.split()
    assert asked.stdout.split()[-1] != plain.stdout.split()[-1], "a version with it is another version"
    record = 'install -d "$PREFIX/versions/new"; ln -s versions/new "$PREFIX/current"; extras | put_text "$PREFIX/versions/new/extras" 644'
    recorded = machine.run(f"with_extras=' ocr'\n{record}")
    assert recorded.returncode == 0, recorded.stderr
    assert machine.run("extras").stdout == "ocr\n"
    assert machine.run("without_extras=' ocr'\nextras").stdout == ""


def test_only_known_extras_are_taken():
    for arguments in (["--with", "daft"], ["--without", "daft"], ["--with"]):
        refused = subprocess.run([ROOT / "install.sh", "--dry-run", *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 64
        assert "daft: the only extra of a scanner is ocr" in refused.stderr or "--with needs a value" in refused.stderr
