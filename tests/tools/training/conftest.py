"""Twenty-eight drawn cards, the data of all tests of training."""
# ruff: noqa: E402 - what needs PyTorch is imported once it is known to be there

import functools

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: install the extra `train`")

from tests.support.tiny_training import write_data
from tools.training.dataset import Dataset


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The folder that ``write_data`` writes."""
    folder = tmp_path_factory.mktemp("data") / "cards"
    write_data(folder)
    return folder


@pytest.fixture(scope="session")
def dataset(data):
    return Dataset.read(data, ("T2",))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _quick():
    """Read each folder once and measure the statistics of a blend on few views, to save time."""
    read_once = functools.cache(Dataset.read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "read", lambda data, held_out=(), drawn=(): read_once(data, tuple(held_out), tuple(drawn)))
        patch.setattr("tools.training.blend.STATISTICS_VIEWS", 24)
        yield
