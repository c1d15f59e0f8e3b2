"""Generated requests for every route of the OpenAPI document: none may cause a server error."""

import re
import subprocess
import sys

import pytest

from tests.web.served import serve


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_request_makes_the_server_fail(tmp_path, query_context):
    """Run the command line: pytest would treat the library's warnings as errors.

    Endless responses are excluded, and /healthz, whose status 503 is not a failure.
    """
    with serve(tmp_path, query_context) as served:
        served.show({20: "a"})
        url = f"{served.server.url}api/openapi.json"
        result = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", url, "--checks", "not_a_server_error", "--max-examples", "25",
                "--exclude-path", "/api/stream", "--exclude-path", "/api/preview.mjpg", "--exclude-path", "/api/preview.jpg",
                "--exclude-path", "/healthz",
                "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color", "--suppress-health-check", "all",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=1100,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
        assert re.search(r"\d{2,} passed", result.stdout), result.stdout[-2000:]
        # /healthz has reported the scripted camera as stopped; the server still answers
        assert served.client.get("/api/state").status_code == 200
