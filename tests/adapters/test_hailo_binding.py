"""The double has the signatures of the real binding, and the adapter uses only these, with matching arguments.

``BINDING`` holds names and signatures of HailoRT v4.23.0 (hailo-ai/hailort, branch hailo8); they are the same in 4.20 to 4.23.
"""

import ast
import inspect
from pathlib import Path

import pytest

import edge.adapters.hailo_device
from tests.support.hailo_double import binding

_PYTHON = "hailort/libhailort/bindings/python/platform/hailo_platform/"
_CPP = "hailort/libhailort/bindings/python/src/"
SOURCES = {
    "hailo_platform": _PYTHON + "__init__.py",
    "Device": _PYTHON + "pyhailort/pyhailort.py, class Device",
    "Control": _PYTHON + "pyhailort/pyhailort.py, class Control",
    "VDevice": _PYTHON + "pyhailort/pyhailort.py, class VDevice",
    "InferModel": _PYTHON + "pyhailort/pyhailort.py, class InferModel",
    "InferModel.InferStream": _PYTHON + "pyhailort/pyhailort.py, class InferModel.InferStream",
    "ConfiguredInferModel": _PYTHON + "pyhailort/pyhailort.py, class ConfiguredInferModel",
    "ConfiguredInferModel.Bindings": _PYTHON + "pyhailort/pyhailort.py, class ConfiguredInferModel.Bindings",
    "ConfiguredInferModel.Bindings.InferStream": _PYTHON + "pyhailort/pyhailort.py, class ConfiguredInferModel.Bindings.InferStream",
    "AsyncInferCompletionInfo": _PYTHON + "pyhailort/pyhailort.py, class AsyncInferCompletionInfo",
    "BoardInformation": _PYTHON + "pyhailort/pyhailort.py, class BoardInformation",
    "FirmwareVersion": _PYTHON + "pyhailort/pyhailort.py, class HailoFirmwareVersion",
    "TemperatureInfo": _CPP + "pyhailort.cpp, TemperatureInfo",
    "ExtendedDeviceInformation": _PYTHON + "pyhailort/pyhailort.py, class ExtendedDeviceInformation",
    "HealthInformation": _PYTHON + "pyhailort/pyhailort.py, class HealthInformation",
    "VDeviceParams": _CPP + "pyhailort.cpp, VDeviceParams",
    "FormatType": _CPP + "pyhailort.cpp, FormatType",
    "HailoSchedulingAlgorithm": _CPP + "pyhailort.cpp, SchedulingAlgorithm",
}
"""Where the members of a type are defined."""

MODULE = "hailo_platform"
BINDING = {
    "hailo_platform.__version__": ("value", None),
    "hailo_platform.Device": ("type", "Device"),
    "hailo_platform.VDevice": ("type", "VDevice"),
    "hailo_platform.FormatType": ("type", "FormatType"),
    "hailo_platform.HailoSchedulingAlgorithm": ("type", "HailoSchedulingAlgorithm"),
    "Device.__init__": ("(self, device_id=None)", "Device"),
    "Device.scan": ("()", None),
    "Device.control": ("property", "Control"),
    "Device.release": ("(self)", None),
    "Control.identify": ("(self)", "BoardInformation"),
    "Control.get_chip_temperature": ("(self)", "TemperatureInfo"),
    "Control.get_extended_device_information": ("(self)", "ExtendedDeviceInformation"),
    "Control._get_health_information": ("(self)", "HealthInformation"),
    "BoardInformation.firmware_version": ("record", "FirmwareVersion"),
    "BoardInformation.device_architecture": ("record", None),
    "FirmwareVersion.major": ("record", None),
    "FirmwareVersion.minor": ("record", None),
    "FirmwareVersion.revision": ("record", None),
    "TemperatureInfo.ts0_temperature": ("record", None),
    "TemperatureInfo.ts1_temperature": ("record", None),
    "ExtendedDeviceInformation.neural_network_core_clock_rate": ("record", None),
    "HealthInformation.current_temperature_throttling_level": ("record", None),
    "FormatType.UINT8": ("value", None),
    "FormatType.FLOAT32": ("value", None),
    "HailoSchedulingAlgorithm.ROUND_ROBIN": ("value", None),
    "VDeviceParams.scheduling_algorithm": ("record", None),
    "VDevice.__init__": ("(self, params=None, *, device_ids=None)", "VDevice"),
    "VDevice.create_params": ("()", "VDeviceParams"),
    "VDevice.create_infer_model": ("(self, hef_source, name='')", "InferModel"),
    "VDevice.release": ("(self)", None),
    "InferModel.set_batch_size": ("(self, batch_size)", None),
    "InferModel.input": ("(self, name='')", "InferModel.InferStream"),
    "InferModel.output_names": ("property", None),
    "InferModel.output": ("(self, name='')", "InferModel.InferStream"),
    "InferModel.configure": ("(self)", "ConfiguredInferModel"),
    "InferModel.InferStream.shape": ("property", None),
    "InferModel.InferStream.set_format_type": ("(self, type)", None),
    "ConfiguredInferModel.set_scheduler_threshold": ("(self, threshold)", None),
    "ConfiguredInferModel.set_scheduler_timeout": ("(self, timeout_ms)", None),
    "ConfiguredInferModel.set_scheduler_priority": ("(self, priority)", None),
    "ConfiguredInferModel.create_bindings": ("(self, input_buffers=None, output_buffers=None)", "ConfiguredInferModel.Bindings"),
    "ConfiguredInferModel.get_async_queue_size": ("(self)", None),
    "ConfiguredInferModel.wait_for_async_ready": ("(self, timeout_ms=1000, frames_count=1)", None),
    "ConfiguredInferModel.run_async": ("(self, bindings, callback=None)", None),
    "ConfiguredInferModel.__exit__": ("(self, exc_type, exc_value, traceback)", None),
    "ConfiguredInferModel.Bindings.input": ("(self, name='')", "ConfiguredInferModel.Bindings.InferStream"),
    "ConfiguredInferModel.Bindings.output": ("(self, name='')", "ConfiguredInferModel.Bindings.InferStream"),
    "ConfiguredInferModel.Bindings.InferStream.set_buffer": ("(self, buffer)", None),
    "AsyncInferCompletionInfo.exception": ("property", None),
}
"""Member → its signature (or kind: property, record attribute, value, type) and the type it returns."""

GIVEN = {
    "platform": MODULE,
    "self._platform": MODULE,
    "infer_model": "InferModel",
    "completion_info": "AsyncInferCompletionInfo",
    "self._vdevice": "VDevice",
    "configured.model": "ConfiguredInferModel",
    "self._control": "Device",
}
"""Types of the adapter's parameters and attributes, which no assignment shows."""


@pytest.mark.parametrize("name", BINDING)
def test_every_member_has_a_source(name):
    assert name.rpartition(".")[0] in SOURCES


@pytest.mark.parametrize("name", [name for name, (kind, _) in BINDING.items() if kind.startswith(("(", "property"))])
def test_the_double_has_the_signature_of_the_real_binding(name):
    found = binding
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        assert BINDING[name][0] == "property"
    else:
        found = found.__func__ if isinstance(found, staticmethod) else found
        assert str(inspect.signature(found)) == BINDING[name][0]


class ForeignUse(ast.NodeVisitor):
    """Follows the runtime's objects through a source and records uses that the table does not contain."""

    def __init__(self):
        self.types = {name: {kind} for name, kind in GIVEN.items()}
        self.used, self.breaches = set(), []

    def type_of(self, node):
        """Return the types of the runtime that an expression may have."""
        if ast.unparse(node) in self.types:
            return self.types[ast.unparse(node)]
        if isinstance(node, ast.Attribute):
            return {BINDING[f"{owner}.{node.attr}"][1] for owner in self.type_of(node.value) if f"{owner}.{node.attr}" in BINDING} - {None}
        if isinstance(node, ast.Call):
            return self.type_of(node.func)
        return set().union(*map(self.type_of, node.elts)) if isinstance(node, ast.Tuple) else set()

    def visit_Assign(self, node):
        self.generic_visit(node)
        for target in node.targets:
            pairs = (
                zip(target.elts, getattr(node.value, "elts", ()), strict=False) if isinstance(target, ast.Tuple) else [(target, node.value)]
            )
            for name, value in pairs:
                if isinstance(name, ast.Name) and self.type_of(value):
                    self.types[name.id] = self.type_of(value)

    def visit_For(self, node):
        if isinstance(node.target, ast.Name) and self.type_of(node.iter):
            self.types[node.target.id] = self.type_of(node.iter)
        self.generic_visit(node)

    def visit_Attribute(self, node):
        self.generic_visit(node)
        for owner in self.type_of(node.value):
            name = f"{owner}.{node.attr}"
            self.used.add(name)
            if name not in BINDING:
                self.breaches.append(f"{name} is not in the table")

    def visit_Call(self, node):
        self.generic_visit(node)
        if not isinstance(node.func, ast.Attribute):
            return
        for owner in self.type_of(node.func.value):
            name = f"{owner}.{node.func.attr}"
            kind, made = BINDING.get(name, ("", None))
            name = f"{made}.__init__" if kind == "type" else name
            signature = BINDING.get(name, ("()", None))[0]
            self.used.add(name)
            if not fits(signature, node):
                self.breaches.append(f"{ast.unparse(node)} does not fit {name}{signature}")


def fits(signature, call):
    """Return whether the arguments of a call match a signature."""
    if not signature.startswith("("):
        return False
    made = {}
    exec(f"def member{signature}: pass", made)  # noqa: S102 - a signature of the table above
    bound = [None] if "self" in signature else []
    try:
        inspect.signature(made["member"]).bind(*bound, *call.args, **{keyword.arg: keyword.value for keyword in call.keywords})
    except TypeError:
        return False
    return True


def use_of(source):
    use = ForeignUse()
    use.visit(ast.parse(source))
    return use


def test_every_call_of_the_adapter_exists_in_the_runtime_and_matches():
    use = use_of(Path(edge.adapters.hailo_device.__file__).read_text(encoding="utf-8"))
    assert use.breaches == []
    assert set(BINDING) - use.used == set(), "the table holds what is used, and nothing else"


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ("platform.HailoRTDevice()", "hailo_platform.HailoRTDevice is not in the table"),
        ("self._vdevice.load_hef(path)", "VDevice.load_hef is not in the table"),
        ("m = self._vdevice.create_infer_model(p)\nm.infer(x)", "InferModel.infer is not in the table"),
        ("configured.model.run_async()", "configured.model.run_async() does not fit ConfiguredInferModel.run_async"),
        ("configured.model.wait_for_async_ready(timeout=3)", "does not fit ConfiguredInferModel.wait_for_async_ready"),
        ("platform.VDevice([1])\nplatform.Device(device='a')", "platform.Device(device='a') does not fit Device.__init__"),
        ("request = configured.model.create_bindings()\nrequest.input().set_data(x)", "Bindings.InferStream.set_data is not in the table"),
        ("for thing in (self._control, self._vdevice):\n    thing.close()", "Device.close is not in the table"),
        ("a, b = configured.model, None\na.shutdown()", "ConfiguredInferModel.shutdown is not in the table"),
    ],
)
def test_a_planted_call_is_found(source, breach):
    assert any(breach in found for found in use_of(source).breaches)
