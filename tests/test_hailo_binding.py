"""The double promises what the real binding promises, and the adapter calls nothing else.

``BINDING`` holds names and signatures of HailoRT v4.23.0 (hailo-ai/hailort, branch hailo8),
``hailort/libhailort/bindings/python/platform/hailo_platform/pyhailort/pyhailort.py``; the attributes of results are pybind records of
``bindings/python/src/pyhailort.cpp`` and ``device_api.hpp``. They are the same in 4.20 to 4.23.
"""

import ast
import inspect
from pathlib import Path

import pytest

import edge.adapters.hailo_device
from tests.hailo_double import binding

BINDING = {
    "Device.__init__": "(self, device_id=None)",
    "Device.scan": "()",
    "Device.control": "property",
    "Device.release": "(self)",
    "Control.identify": "(self)",
    "Control.get_chip_temperature": "(self)",
    "Control.get_extended_device_information": "(self)",
    "Control._get_health_information": "(self)",
    "VDevice.__init__": "(self, params=None, *, device_ids=None)",
    "VDevice.create_params": "()",
    "VDevice.create_infer_model": "(self, hef_source, name='')",
    "VDevice.release": "(self)",
    "InferModel.set_batch_size": "(self, batch_size)",
    "InferModel.input": "(self, name='')",
    "InferModel.output": "(self, name='')",
    "InferModel.configure": "(self)",
    "InferModel.InferStream.shape": "property",
    "InferModel.InferStream.set_format_type": "(self, type)",
    "ConfiguredInferModel.create_bindings": "(self, input_buffers=None, output_buffers=None)",
    "ConfiguredInferModel.wait_for_async_ready": "(self, timeout_ms=1000, frames_count=1)",
    "ConfiguredInferModel.run_async": "(self, bindings, callback=None)",
    "ConfiguredInferModel.__exit__": "(self, exc_type, exc_value, traceback)",
    "ConfiguredInferModel.Bindings.input": "(self, name='')",
    "ConfiguredInferModel.Bindings.output": "(self, name='')",
    "ConfiguredInferModel.Bindings.InferStream.set_buffer": "(self, buffer)",
    "AsyncInferCompletionInfo.exception": "property",
}

RECORDS = {
    "ts0_temperature", "ts1_temperature", "neural_network_core_clock_rate", "current_temperature_throttling_level",
    "firmware_version", "device_architecture", "major", "minor", "revision", "scheduling_algorithm", "exception",
}  # fmt: skip
TOP_LEVEL = {"VDevice", "Device", "FormatType", "HailoSchedulingAlgorithm", "ROUND_ROBIN", "UINT8", "FLOAT32"}


@pytest.mark.parametrize("name", BINDING)
def test_the_double_has_the_signature_of_the_real_binding(name):
    found = binding
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        assert BINDING[name] == "property"
    else:
        found = found.__func__ if isinstance(found, staticmethod) else found
        assert str(inspect.signature(found)) == BINDING[name]


def foreign_attributes(source):
    """Return the attributes asked of the runtime's objects: all that hang on a name the runtime gave."""
    given = {"platform", "parameters", "infer_model", "request", "completion_info", "control", "temperature", "board", "version"}
    holders = {"_vdevice", "_configured", "_control"}
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        root = node.value
        while isinstance(root, ast.Attribute | ast.Call):
            if isinstance(root, ast.Attribute) and root.attr in holders:
                found.add(node.attr)
            root = root.func if isinstance(root, ast.Call) else root.value
        if isinstance(root, ast.Name) and root.id in given:
            found.add(node.attr)
    return found


def test_the_adapter_asks_only_for_what_the_real_binding_has():
    known = {name.rpartition(".")[2] for name in BINDING} | RECORDS | TOP_LEVEL
    asked = foreign_attributes(Path(edge.adapters.hailo_device.__file__).read_text(encoding="utf-8"))
    assert asked - known == set()
    assert {"create_infer_model", "run_async", "wait_for_async_ready", "set_format_type"} <= asked
