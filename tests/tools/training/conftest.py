"""Twenty-eight drawn cards: what every test of training begins with."""
# ruff: noqa: E402 - what needs PyTorch is imported once it is known to be there

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: install the extra `train`")

from tests.support.tiny_training import write_data
from tools.training.material import Dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """See ``write_data``."""
    folder = tmp_path_factory.mktemp("data") / "cards"
    write_data(folder)
    return folder


@pytest.fixture(scope="session")
def material(data):
    return Dataset.read(data, ("T2",))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
