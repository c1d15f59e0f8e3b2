"""Networks as small as those of the tests are exported faster by one thread than by several."""

import pytest

torch = pytest.importorskip("torch", reason="exporting needs PyTorch: install the extra `train`")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)
