"""Runs inside a root: imports every runtime dependency of the installed project and prints what it found as JSON."""

import importlib
import json
import platform
import re
import time
from importlib import metadata


def as_one(name: str) -> str:
    """Return a package's name as all its spellings (Python packaging, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


needed = {as_one(re.match(r"[\w.-]+", line).group()) for line in metadata.requires("cardedge") if "extra ==" not in line}
modules = {name: [as_one(package) for package in packages] for name, packages in metadata.packages_distributions().items()}
versions, imported = {}, []
began_s = time.perf_counter()
for package in sorted(needed):
    versions[package] = metadata.version(package)
    names = [name for name, packages in modules.items() if package in packages and name.isidentifier() and not name.startswith("_")]
    # what an installer leaves beside a package is not meant to be imported
    names = [name for name in names if name not in {"tests", "docs", "examples", "bin", "samples"}]
    if not names:
        raise SystemExit(f"{package} brings no module")
    for name in names:
        importlib.import_module(name)
        imported.append(name)
print(  # noqa: T201 - its answer
    json.dumps(
        {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()),
            "versions": versions,
            "imported": imported,
            "import_s": round(time.perf_counter() - began_s, 1),
        }
    )
)
