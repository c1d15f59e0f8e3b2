"""The hardware of the double: presence, owner, network and faults of the board."""

import hashlib
import json
import struct
import threading
from dataclasses import dataclass, field

MAGIC = 0x01484546
STATUS = {
    0: "HAILO_SUCCESS", 2: "HAILO_INVALID_ARGUMENT", 4: "HAILO_TIMEOUT", 6: "HAILO_INVALID_OPERATION", 14: "HAILO_FILE_OPERATION_FAILURE",
    16: "HAILO_UNSUPPORTED_FW_VERSION", 18: "HAILO_FW_CONTROL_FAILURE", 26: "HAILO_INVALID_HEF", 36: "HAILO_DRIVER_OPERATION_FAILED",
    61: "HAILO_NOT_FOUND", 62: "HAILO_COMMUNICATION_CLOSED", 63: "HAILO_STREAM_ABORT", 74: "HAILO_OUT_OF_PHYSICAL_DEVICES",
    76: "HAILO_INVALID_DRIVER_VERSION", 77: "HAILO_RPC_FAILED", 82: "HAILO_QUEUE_IS_FULL", 87: "HAILO_DRIVER_TIMEOUT",
    91: "HAILO_HEF_FILE_CORRUPTED", 92: "HAILO_HEF_NOT_SUPPORTED", 93: "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE",
}  # fmt: skip


@dataclass
class Fault:
    """A fault: a status, or no response; ``times`` times.

    ``at`` is one of ``scan``, ``vdevice``, ``create``, ``configure``, ``control``, ``ready``, ``submit``, ``job``.
    """

    at: str
    status: int | None = None
    times: int = 1


@dataclass
class Board:
    """A Hailo-8L that can be absent, busy, too old, too hot, or pulled out."""

    present: bool = True
    busy: bool = False
    permission: bool = True
    driver: str = "4.23.0"
    library: str = "4.23.0"
    import_error: str | None = None
    architecture: str = "HAILO8L"
    newest_compiler: tuple[int, int] = (3, 33)
    latency_s: float = 0.0
    """Time per image; submissions run one after the other."""
    queue_size: int = 16
    output_bits: int = 16
    noise: bool = False
    """Embeddings differ each time (runtime and compiler of different versions)."""
    temperature_c: float = 48.0
    throttling_level: int = -1
    """-1: not throttled, 0 the first step (hailort.h, hailo_health_info_t)."""
    pictures: int = 0
    """Images embedded so far."""
    runs: list[int] = field(default_factory=list)
    """Images of each run of the chip; a network that does not fit on it is streamed once per run."""
    temperature_refused: bool = False
    submissions: int = 0
    priorities: list[int] = field(default_factory=list)
    """Priorities of the configured networks, in order."""
    deepest: int = 0
    """Maximum number of concurrent submissions."""
    faults: list[Fault] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    """Calls to the board, in order."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, at):
        """Return the fault that occurs now at this call, and remove it."""
        with self.lock:
            for fault in self.faults:
                if fault.at == at and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def note(self, what):
        with self.lock:
            self.journal.append(what)


ARCHITECTURES = {"HAILO8": 0, "HAILO8L": 3, "HAILO15H": 103}
HEADER = struct.Struct(">III")
HEADER_SIZES = {0: 32, 1: 28, 2: 44, 3: 56}


def write_hef(path, onnx_file, *, architecture="HAILO8L", compiler=(3, 33), output="logits", outputs=None, version=0):
    """Write a HEF for the double: header and description with, as its ``mapping``, the ONNX that is run instead of the compiled network."""
    content = {"onnx": onnx_file.name, "architecture": architecture, "compiler": list(compiler), "output": output, "outputs": outputs}
    path.write_bytes(hef_bytes(json.dumps(content).encode(), ARCHITECTURES[architecture], version))


def hef_bytes(mapping, architecture, version=0):
    header = (b"\x08" + varint(architecture) if architecture else b"") + b"\x1a\x063.33.0"
    body = b"\x0a" + varint(len(header)) + header + b"\x1a" + varint(len(mapping)) + mapping
    start = HEADER.pack(MAGIC, version, len(body))
    checksum = hashlib.md5(body).digest()  # noqa: S324 - HEFs carry an MD5
    return start.ljust(HEADER_SIZES[version] - 16, b"\0") + checksum + body


def varint(value):
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def read_hef(path):
    """Return ``(status, content)`` as parsing the file would."""
    try:
        data = path.read_bytes()
    except OSError:
        return 14, None
    if len(data) < HEADER.size or HEADER.unpack_from(data)[0] != MAGIC:
        return 91, None
    start = HEADER_SIZES[HEADER.unpack_from(data)[1]]
    body = data[start:]
    if hashlib.md5(body).digest() != data[start - 16 : start]:  # noqa: S324
        return 91, None
    return 0, json.loads(body[body.index(b"{") :]) | {"folder": path.parent}
