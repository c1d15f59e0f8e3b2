"""A double of Hailo's Dataflow Compiler as ``tools/hailo/compiler.py`` uses it (names of hailo_sdk_client 3.30 to 3.33)."""

import contextlib
import logging
import sys
import types
from enum import Enum

import numpy as np
import onnx
import onnxruntime
from onnx import shape_inference, utils


class InferenceContext(Enum):
    SDK_NATIVE = 1
    SDK_FP_OPTIMIZED = 2
    SDK_QUANTIZED = 3


class ClientRunner:
    """Settings and records for the tests: ``noise`` of the quantized emulation, ``says`` in the log while optimizing, ``calls`` made."""

    noise = 0.0
    says = ()
    calls = []  # noqa: RUF012 - the class is the double's switchboard, renewed by install

    def __init__(self, hw_arch=None, har=None):
        self.calls.append(("ClientRunner", hw_arch))

    def translate_onnx_model(
        self, model, net_name="model", start_node_names=None, end_node_names=None, net_input_shapes=None, net_input_format=None
    ):
        loaded = shape_inference.infer_shapes(onnx.load(model))
        nodes = {node.name: node for node in loaded.graph.node}
        start, ends = nodes[start_node_names[0]], [nodes[name] for name in end_node_names]
        batch, planes, *self._size = net_input_shapes[start.name]
        assert (batch, planes) == (1, 3)
        part = utils.Extractor(loaded).extract_model([start.input[0]], [end.output[0] for end in ends])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._layers = {f"{net_name}/conv{number}": {"original_names": [name]} for number, name in enumerate(nodes, 1)}
        self.calls.append(("translate", start.name, *end_node_names))

    def get_hn(self):
        return {"layers": self._layers}

    def load_model_script(self, model_script=None, model_script_filename=None, append=False):
        self.calls.append(("script", model_script))

    def optimize(self, calib_data, data_type=None, work_dir=None):
        assert calib_data.dtype == np.float32, "numbers 0..255 as float32, NHWC"
        assert calib_data.shape[1:] == (*self._size, 3)
        self.calls.append(("optimize", len(calib_data), float(calib_data.max())))
        for line in self.says:
            logging.getLogger("hailo_sdk_client").warning(line)

    def compile(self):
        return b"\x01HEF compiled"

    @contextlib.contextmanager
    def infer_context(self, inference_context):
        yield inference_context

    def infer(self, context, dataset):
        batch = np.ascontiguousarray(dataset.transpose(0, 3, 1, 2))
        name = self._session.get_inputs()[0].name
        rows = [self._session.run(None, {name: row[None]}) for row in batch]
        outputs = [np.concatenate(one) for one in zip(*rows, strict=True)]
        if context is InferenceContext.SDK_QUANTIZED:
            random = np.random.default_rng(0)
            outputs = [one + random.normal(0.0, self.noise, one.shape) * np.abs(one).max() for one in outputs]
        # channels last; a list if there are several
        outputs = [one.transpose(0, 2, 3, 1) if one.ndim == 4 else one.reshape(len(batch), 1, 1, -1) for one in outputs]
        return outputs if len(outputs) > 1 else outputs[0]


def install(monkeypatch, *, noise=0.0, says=()):
    """Make ``hailo_sdk_client`` importable for one test; return the list of calls."""
    calls = []
    runner = type("ClientRunner", (ClientRunner,), {"noise": noise, "says": says, "calls": calls})
    module = types.ModuleType("hailo_sdk_client")
    module.ClientRunner, module.InferenceContext = runner, InferenceContext
    monkeypatch.setitem(sys.modules, "hailo_sdk_client", module)
    return calls
