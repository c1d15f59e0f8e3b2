"""A card added on a scanner whose index has nothing of its kind: it is identified, and other cards of its layout are not."""

from itertools import islice

import numpy as np
import pytest

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import load_gallery, overlay_index
from edge.index import overlay, releases
from edge.index.loading import BundleLoader, load_with_overlay
from edge.recognition.decision import Identified
from edge.recognition.gallery import Card
from edge.recognition.model import find_model, open_model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.settings.sections import Settings
from edge.vision.card import LocatedCard, whole_image_quad
from edge.vision.locate import BOTH_WAYS
from tests.support.small_scanner import write_index
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.simulation.camera import PRESETS, degrade


def of_layout(layout, count):
    specs = (spec for spec in (card_spec(5, number) for number in range(200)) if spec.layout == layout)
    return [over_white(draw_card(spec)) for spec in islice(specs, count)]


@pytest.fixture(scope="module")
def model():
    """The shipped model: the cosines of a made-up network say nothing about cards."""
    return open_model(find_model(None))


def test_an_added_card_does_not_name_the_others_of_its_layout(model, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    release = write_index(tmp_path / "release", model.folder, {f"creature-{n}": card for n, card in enumerate(of_layout("creature", 5))})
    releases.activate(root, releases.install(root, release).bundle_id)
    lone, *siblings = of_layout("spell", 5)
    embedder = OnnxEmbedder(model, threads=1)
    try:
        loading = BundleLoader(
            model.model_id,
            embedder.info.artifact_sha256,
            lambda bundle, settings: load_gallery(bundle, settings, model.evidence),
            overlay_index,
        )
        added = overlay.AddedImage(Card(CardId("promo"), "Promo", "promo"), lone)
        overlay.add_images(root, [added], loading.overlay_writer(lambda batch: embedder.submit(batch).result(60)))
        loaded = load_with_overlay(root, releases.open_index(root), Settings(), loading).loaded
        recognizer = Recognizer(embedder, loaded)

        def decision(card, number):
            view = degrade(card, PRESETS["camera-4"], np.random.default_rng([1, number]))
            (sighting,) = recognizer.recognize(view, [LocatedCard(whole_image_quad(view), BOTH_WAYS, 0.0)], timeout_s=120.0)
            return sighting.decision

        own = decision(lone, 0)
        assert isinstance(own, Identified)
        assert own.best.card_id == "promo"
        assert not any(isinstance(decision(card, 1 + number), Identified) for number, card in enumerate(siblings))
    finally:
        embedder.close()
