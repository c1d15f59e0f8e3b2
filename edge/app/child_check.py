"""Opening and self-test of a bundle in a child process with bounded memory and time.

Hashes do not protect from a bundle that was built to crash or exhaust a library. In a child process that is a refusal with a reason.
Run as a module, this file is the child.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

from edge.app.index import make_vector_index
from edge.bundles.bundle import open_bundle, opening_limits, run_self_test
from edge.errors import BundleError, EdgeError, ExitCode
from edge.recognition.embedding import ModelId

SearchKind = Literal["hnsw", "exact"]

_REJECTED: Final = "the bundle is damaged or was built to do harm, and nothing was changed; build it again from a source that you trust"


def check_in_child(
    path: Path, *, expected_model_id: ModelId | None = None, verify_hashes: bool = True, search: SearchKind = "hnsw"
) -> None:
    """Open a bundle and run its self-test in a child process; raise ``BundleError`` with the reason if that fails in any way.

    ``search`` is the vector index that the self-test uses. Memory and time are bounded by the size of the bundle.
    """
    limits = opening_limits(path)
    command = [sys.executable, "-P", "-m", __name__, str(path), search, expected_model_id or "", str(int(verify_hashes))]
    # the modules of this process, and no thread that would reserve address space for itself
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter and this module
            [*command, str(limits.memory_bytes)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limits.seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{path}: opening it took longer than {limits.seconds:.0f} s; {_REJECTED}") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be checked, no process can be started ({error.strerror}); try again") from error
    if done.returncode == ExitCode.BAD_DATA:
        raise BundleError(done.stdout.strip())
    if done.returncode < 0:
        raise BundleError(f"{path}: opening it ended a process with {_signal_name(-done.returncode)}; {_REJECTED}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        memory_mb = limits.memory_bytes / 1e6
        raise BundleError(f"{path}: opening it with {memory_mb:.0f} MB of memory failed ({last}); {_REJECTED}")


def main(path: Path, search: SearchKind, expected_model_id: str, *, verify_hashes: bool, memory_bytes: int) -> ExitCode:
    """Open a bundle and run its self-test; print why it is refused."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        bundle = open_bundle(path, expected_model_id=ModelId(expected_model_id) or None, verify_hashes=verify_hashes)
        run_self_test(bundle, make_vector_index(bundle, search).search)
    except EdgeError as error:
        sys.stdout.write(f"{error}\n")
        return ExitCode.BAD_DATA
    return ExitCode.OK


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


if __name__ == "__main__":
    place, kind, model, hashes, memory = sys.argv[1:]
    sys.exit(main(Path(place), "exact" if kind == "exact" else "hnsw", model, verify_hashes=hashes == "1", memory_bytes=int(memory)))
