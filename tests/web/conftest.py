from contextlib import closing

import pytest

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import load_gallery
from edge.bundles.bundle import open_bundle
from edge.index.change import OpenedIndex
from edge.recognition.model import open_model
from edge.settings.sections import Settings
from edge.vision.locate import locate_cards
from edge.web.service import ImageQueryContext
from tests.web.served import serve


@pytest.fixture
def served(tmp_path):
    with serve(tmp_path) as served:
        yield served


@pytest.fixture(scope="session")
def small_index(small_scanner):
    """A real index of eight drawn cards."""
    bundle = open_bundle(small_scanner.index)
    return OpenedIndex(load_gallery(bundle, Settings()), bundle.manifest, catalogs=(bundle,))


@pytest.fixture(scope="session")
def query_context(small_scanner, small_index):
    """What identifies uploads: the real index and a real embedder."""
    with closing(OnnxEmbedder(open_model(small_scanner.model), threads=1)) as embedder:
        yield ImageQueryContext(lambda: small_index, lambda: small_index.loaded, embedder, locate_cards, 5, 16)
