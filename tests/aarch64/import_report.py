"""Import all Python packages in the folders given as arguments; print their versions as JSON. Runs inside a root."""

import importlib
import json
import platform
import sys
import time
from importlib import metadata

NOT_MEANT_FOR_IMPORT = {"bin", "docs", "examples", "samples", "tests"}
"""Names that some wheels install beside their package."""

FROM_ANYWHERE = "hnswlib"
"""Included although Debian's own package does not list its modules."""

mine = {distribution.metadata["Name"] for distribution in metadata.distributions(path=sys.argv[1:])} | {FROM_ANYWHERE}
owned = (name for name, owners in metadata.packages_distributions().items() if mine & set(owners))
named = (name for name in owned if name.isidentifier() and not name.startswith("_") and name not in NOT_MEANT_FOR_IMPORT)
modules = sorted({*named, FROM_ANYWHERE})
began_s = time.perf_counter()
for name in modules:
    importlib.import_module(name)
print(  # noqa: T201 - its result
    json.dumps(
        {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()),
            "versions": {name: metadata.version(name) for name in sorted(mine, key=str.lower)},
            "modules": modules,
            "import_s": round(time.perf_counter() - began_s, 1),
        }
    )
)
