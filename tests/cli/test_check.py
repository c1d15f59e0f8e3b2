"""What ``cardedge check`` prints, and its exit status."""

from edge.app.diagnostics import CheckResult
from edge.cli.check import exit_code, result_text
from edge.cli.main import main
from edge.errors import ExitCode


def test_the_exit_status_is_that_of_the_most_severe_failure():
    def failure(code):
        return CheckResult(check="x", level="fail", message="", exit_code=code)

    assert exit_code([]) == ExitCode.OK
    assert exit_code([failure(69), failure(78), failure(65)]) == ExitCode.CONFIG
    assert exit_code([failure(69), failure(65)]) == ExitCode.BAD_DATA


def test_a_message_of_several_lines_is_indented():
    result = CheckResult(check="training", level="ok", message="first\nsecond")
    assert result_text(result) == "OK   training    first\n                 second"


def test_the_report_fits_on_one_screen(small_scanner, tmp_path, capsys):
    config = tmp_path / "cardedge.toml"
    config.write_text(
        f'[device]\nid = "bench"\n[camera]\nkind = "v4l2"\nsource = "/dev/video97"\n[network]\nmodel = "{small_scanner.model}"\n'
    )
    main(["check", "--config", str(config)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("OK   versions")
    assert any(line.startswith("FAIL camera") for line in lines)
