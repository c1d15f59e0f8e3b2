"""The chip of a HEF, read from the file: for every version of its header, for other chips, and for files that are none."""

import pytest

from edge.errors import ModelError
from edge.recognition.hef_file import HEAD_BYTES, architecture_of
from edge.recognition.locator_model import open_locator_model
from edge.recognition.model import open_model, require_chip
from tests.support.hailo_double.board import HEADER, HEADER_SIZES, MAGIC, hef_bytes
from tests.support.hailo_double.model import write_hailo_locator, write_hailo_model


@pytest.mark.parametrize("version", sorted(HEADER_SIZES))
@pytest.mark.parametrize(("number", "name"), [(0, "HAILO8"), (3, "HAILO8L"), (103, "HAILO15H")])
def test_the_chip_is_read_from_every_version_of_the_header(version, number, name):
    assert architecture_of(hef_bytes(b"{}" * 3000, number, version)[:HEAD_BYTES]) == name


def test_a_later_version_of_the_header_is_left_to_the_runtime(tmp_path):
    path = tmp_path / "model.hef"
    path.write_bytes(HEADER.pack(MAGIC, 9, 100) + bytes(100))
    require_chip(path)


@pytest.mark.parametrize("content", [b"", b"ELF" * 20, HEADER.pack(MAGIC, 0, 5) + bytes(20), HEADER.pack(MAGIC, 0, 5) + b"\x12" * 40])
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / "model.hef"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.hef: (not|a damaged) ?a? ?HEF"):
        require_chip(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        require_chip(tmp_path / "model.hef")


@pytest.mark.parametrize(("write", "open_it"), [(write_hailo_model, open_model), (write_hailo_locator, open_locator_model)])
def test_a_model_compiled_for_another_chip_does_not_open(tmp_path, write, open_it):
    write(tmp_path / "right")
    open_it(tmp_path / "right")
    write(tmp_path / "other", architecture="HAILO8")
    with pytest.raises(ModelError, match="compiled for HAILO8, not for HAILO8L"):
        open_it(tmp_path / "other")
