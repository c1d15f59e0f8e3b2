"""What the tests marked ``hardware`` need: a Pi with a Hailo board, and a network compiled for it."""

import pytest

from edge.errors import EdgeError
from edge.recognition.model import find_model, open_model


def board_model():
    """Return the installed network with a HEF, or skip with what is missing."""
    pytest.importorskip("hailo_platform", reason="HailoRT's Python package is not installed (apt install hailo-all)")
    try:
        model = open_model(find_model(None))
        model.artifact("hef")
    except EdgeError as error:
        pytest.skip(f"no compiled network found: {error}")
    return model
