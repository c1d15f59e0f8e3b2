"""The OpenAPI document against the server, by generated requests: whatever is sent, the server itself never fails."""

import re
import subprocess
import sys

import pytest

from tests.web.served import serve


@pytest.mark.slow
def test_no_request_makes_the_server_fail(tmp_path, recognition):
    """By its command line: the library's own warnings would end our tests, which take warnings for errors.

    Left out are what does not end, and /healthz, whose 503 is an answer.
    """
    with serve(tmp_path, recognition) as served:
        served.show({20: "a"})
        url = f"{served.server.url}api/openapi.json"
        told = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", url, "--checks", "not_a_server_error", "--max-examples", "25",
                "--exclude-path", "/api/stream", "--exclude-path", "/api/preview.mjpg", "--exclude-path", "/api/preview.jpg",
                "--exclude-path", "/healthz",
                "--seed", "1", "--phases", "examples,coverage,fuzzing", "--no-color", "--suppress-health-check", "all",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path, timeout=280,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
        assert re.search(r"\d{2,} passed", told.stdout), told.stdout[-2000:]
        # the scripted camera has long stood still, which /healthz rightly tells; the server goes on
        assert served.client.get("/api/state").status_code == 200
