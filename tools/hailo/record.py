"""Write the results of planning, compiling and measuring to ``model.json``, atomically."""

from __future__ import annotations

from typing import Any

from edge.recognition.model import MODEL_FILE, Model
from edge.system.files import write_atomically


def write_npu_record(model: Model, part: str, found: dict[str, Any], **more: Any) -> None:
    """Set ``npu.<part>`` of ``model.json`` to ``found`` and its top-level fields ``more``; other fields keep their values."""
    manifest = model.manifest
    changed = manifest.model_copy(update={"npu": {**(manifest.npu or {}), part: found}, **more})
    write_atomically(model.folder / MODEL_FILE, changed.to_json(), durable=False)
