"""A file system for the functions of install.sh."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

ORDER = ("base", "packages", "libraries", "hardware", "versions", "service", "wheels", "people", "removal")


def make_machine(tmp_path):
    """Return a file system for the installer's functions, and a way to run scripts that use them."""
    for folder in (
        "dev",
        "sys/bus/pci/devices",
        "proc/device-tree",
        "etc/cardedge",
        "var/lib/cardedge/index",
        "opt/cardedge/versions",
        "run/lock",
    ):
        (tmp_path / folder).mkdir(parents=True)

    class Machine:
        root = tmp_path

        def run(self, script, *, here=ROOT):
            sources = "\n".join(f'source "{ROOT}/systemd/install/{name}.sh"' for name in ORDER)
            settled = f"HERE={here} task=install_service no_start=no purge=no python={sys.executable}"
            program = f"set -euo pipefail\nHERE={here} task=install_service\n{sources}\n{settled}\n{script}"
            environment = {**os.environ, "CARDEDGE_TEST_ROOT": str(tmp_path), "CARDEDGE_READY_S": "1", "CARDEDGE_PROGRESS_S": "1"}
            return subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment)

        def pci(self, vendor="0x1e60", device="0x2864", speed="8.0 GT/s PCIe"):
            slot = tmp_path / "sys/bus/pci/devices/0001:01:00.0"
            slot.mkdir()
            for name, value in {"vendor": vendor, "device": device, "current_link_speed": speed}.items():
                (slot / name).write_text(value + "\n")

        def version(self, name="new", *, modules=None, hef=False):
            """Create a version whose Python finds the given modules besides those of the project."""
            folder = tmp_path / "opt/cardedge/versions" / name
            (folder / "bin").mkdir(parents=True)
            for module, text in (modules or {}).items():
                (folder / "modules").mkdir(exist_ok=True)
                (folder / "modules" / f"{module}.py").write_text(text)
            python = folder / "bin/python"
            python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}/modules" exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            network = folder / "hef" / "net"
            network.mkdir(parents=True)
            network.joinpath("model.json").write_text(json.dumps({"artefacts": {"hef": {"file": "net.hef"}} if hef else {}}))
            for other in ("card-locator", "text-drawn"):  # models of other kinds
                network.with_name(other).mkdir()
                network.with_name(other).joinpath("model.json").write_text(json.dumps({"schema": f"cardedge.{other}/1"}))
            if hef:
                network.joinpath("net.hef").write_bytes(b"compiled")
            return folder

        def pi(self):
            (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")

    return Machine()


@pytest.fixture
def machine(tmp_path):
    return make_machine(tmp_path)
