"""Requirements of tests marked ``hardware``: a Raspberry Pi with a Hailo board, and a model compiled for it."""

import pytest

from edge.errors import EdgeError
from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.recognition.model import find_model, open_model


def board_model():
    """Return the installed model with a HEF, or skip the test with the reason."""
    pytest.importorskip("hailo_platform", reason="HailoRT's Python package is not installed (apt install hailo-all)")
    try:
        model = open_model(find_model(None))
        model.artifact("hef")
    except EdgeError as error:
        pytest.skip(f"no compiled network found: {error}")
    return model


def board_locator_model():
    """Return the installed model of the locator with a HEF, or skip the test with the reason."""
    pytest.importorskip("hailo_platform", reason="HailoRT's Python package is not installed (apt install hailo-all)")
    try:
        model = open_locator_model(find_locator_model(None))
        model.hef_outputs()
    except EdgeError as error:
        pytest.skip(f"no compiled network of the locator found: {error}")
    return model
