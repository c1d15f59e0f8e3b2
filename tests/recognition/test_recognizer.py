"""The recognizer: orientations, batches, swaps and failures, with a projection in place of the network and exact search."""

from concurrent.futures import Future

import numpy as np
import pytest

from edge.errors import EmbedderError, EmbedderTimeoutError
from edge.recognition.decision import AcceptanceThresholds, Identified, RejectReason, Unknown
from edge.recognition.embedding import to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, exact_similarities, to_neighbors, top_k
from edge.recognition.recognizer import LoadedGallery, Recognizer
from edge.recognition.verification import SIGNATURE_BYTES, signature_of
from edge.vision.card import LocatedCard, Quad, whole_image_quad
from tests.support.stand_ins import ProjectionEmbedder
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec, reprint
from tools.evaluation.hidden_artwork import HiddenArtworkIndex

SEED = 21


class ArrayIndex:
    def __init__(self, vectors, card_ids):
        self.vectors, self.card_ids = vectors, card_ids

    def search(self, queries, k):
        similarities = exact_similarities(queries, self.vectors)
        return tuple(to_neighbors(row, similarities[index, row], self.card_ids) for index, row in enumerate(top_k(similarities, k)))


def loaded_gallery(specs, images, index_id="test"):
    embedder = ProjectionEmbedder()
    ids = tuple(CardId(spec.card_id) for spec in specs)
    vectors, signatures = np.empty((0, embedder.info.dim), np.float32), np.empty((0, SIGNATURE_BYTES), np.uint8)
    for image in images:
        vectors = np.concatenate([vectors, embedder.submit(to_input_batch([image])).result()])
        signatures = np.concatenate([signatures, signature_of(image)[np.newaxis]])
    cards = {card_id: Card(card_id, spec.name, spec.artwork_group) for card_id, spec in zip(ids, specs, strict=True)}
    return LoadedGallery(index_id, Gallery(cards, ids, signatures), ArrayIndex(vectors, ids), AcceptanceThresholds())


@pytest.fixture(scope="module")
def specs():
    originals = [card_spec(SEED, index) for index in range(10)]
    return [*originals, reprint(originals[3], 0)]


@pytest.fixture(scope="module")
def images(specs):
    return [over_white(draw_card(spec)) for spec in specs]


@pytest.fixture
def loaded(specs, images):
    return loaded_gallery(specs, images)


def whole(image, rotations=(0, 180)):
    return LocatedCard(whole_image_quad(image), rotations, sharpness=0.0)


def test_every_card_is_identified_and_the_quad_starts_at_its_top_left_corner(specs, images, loaded):
    recognizer = Recognizer(ProjectionEmbedder(), loaded)
    for spec, image in zip(specs, images, strict=True):
        upright = recognizer.recognize(image, [whole(image)])[0]
        rotated_image = np.ascontiguousarray(image[::-1, ::-1])
        rotated = recognizer.recognize(rotated_image, [whole(rotated_image)])[0]
        for sighting in (upright, rotated):
            assert isinstance(sighting.decision, Identified)
            assert spec.card_id in sighting.decision.printings
        assert upright.quad == whole_image_quad(image)
        assert rotated.quad == whole_image_quad(image).rotated(180)


def test_a_card_on_its_side_is_identified_if_all_four_orientations_are_possible(specs, images, loaded):
    sideways = np.ascontiguousarray(np.rot90(images[0], k=-1))
    outline = whole_image_quad(sideways)
    sighting = Recognizer(ProjectionEmbedder(), loaded).recognize(sideways, [LocatedCard(outline, (0, 90, 180, 270), 0.0)])[0]
    assert isinstance(sighting.decision, Identified)
    assert sighting.decision.best.card_id == specs[0].card_id
    assert sighting.quad == outline.rotated(90)


def test_all_printings_of_an_artwork_are_rerotated(specs, images, loaded):
    decision = Recognizer(ProjectionEmbedder(), loaded).recognize(images[3], [whole(images[3])])[0].decision
    assert isinstance(decision, Identified)
    assert set(decision.printings) == {specs[3].card_id, specs[10].card_id}


@pytest.mark.parametrize(
    ("upside_down", "order_confidence", "pictures"), [(False, 0.5, 1), (True, 0.5, 2), (True, 0.1, 1), (False, 0.1, 2)]
)
def test_a_card_is_embedded_once_if_its_likelier_orientation_is_right(images, loaded, upside_down, order_confidence, pictures):
    embedder = Counted()
    image = np.ascontiguousarray(images[1][::-1, ::-1]) if upside_down else images[1]
    card = LocatedCard(whole_image_quad(image), (0, 180), 0.0, order_confidence)
    sighting = Recognizer(embedder, loaded).recognize(image, [card])[0]
    assert isinstance(sighting.decision, Identified)
    assert sighting.decision.best.rotation == (180 if upside_down else 0)
    assert embedder.sizes == [1] * pictures


def test_a_card_that_is_not_indexed_is_looked_at_in_every_orientation(specs, images, loaded):
    hidden = HiddenArtworkIndex(loaded.index, loaded.gallery, specs[2].artwork_group)
    embedder = Counted()
    recognizer = Recognizer(embedder, LoadedGallery("without", loaded.gallery, hidden, loaded.thresholds))
    recognizer.recognize(images[2], [whole(images[2]), whole(images[2], (0, 90, 180, 270))])
    assert embedder.sizes == [2, 4]


def test_a_pending_card_submits_its_second_orientation_itself_and_is_done_after_it(images, loaded):
    image = np.ascontiguousarray(images[1][::-1, ::-1])
    embedder = Later()
    pending = Recognizer(embedder, loaded).submit(image, [whole(image)])
    assert not pending.done()
    embedder.finish()
    assert not pending.done()
    assert len(embedder.waiting) == 1, "the second orientation was submitted without a call of result"
    embedder.finish()
    assert pending.done()
    assert isinstance(pending.result(0.0)[0].decision, Identified)
    assert set(pending.timing_ms) == {"embed", "search", "verify"}


def test_an_embedder_that_does_not_take_the_second_orientation_is_an_error_of_the_result(images, loaded):
    class Full(Later):
        def submit(self, batch):
            if self.batches:
                raise EmbedderTimeoutError("the embedder is full")
            return super().submit(batch)

    image = np.ascontiguousarray(images[1][::-1, ::-1])
    embedder = Full()
    pending = Recognizer(embedder, loaded).submit(image, [whole(image)])
    embedder.finish()
    assert pending.done()
    with pytest.raises(EmbedderTimeoutError, match="full"):
        pending.result(1.0)


class Counted(ProjectionEmbedder):
    """Keeps the size of each batch."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def submit(self, batch):
        self.sizes.append(len(batch))
        return super().submit(batch)


class Later(ProjectionEmbedder):
    """Answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.waiting = []
        self.batches = 0

    def submit(self, batch):
        self.batches += 1
        future = Future()
        self.waiting.append((future, batch))
        return future

    def finish(self):
        future, batch = self.waiting.pop()
        future.set_result(super().submit(batch).result())


def test_many_cards_are_embedded_in_bounded_batches_and_rerotated_in_order(specs, images, loaded):
    sizes = []

    class Counting(ProjectionEmbedder):
        def submit(self, batch):
            sizes.append(len(batch))
            return super().submit(batch)

    frame = np.concatenate(images[:10], axis=1)
    width = images[0].shape[1]
    base = whole_image_quad(images[0]).to_array()
    located = [LocatedCard(Quad.from_array(np.add(base, (number * width, 0))), (0, 180), 0.0) for number in range(10)]
    sightings = Recognizer(Counting(max_batch=8), loaded).recognize(frame, located)
    assert sizes == [8, 2], "every card is identified in the orientation that is looked at first"
    assert [sighting.decision.best.artwork_group for sighting in sightings] == [spec.artwork_group for spec in specs[:10]]
    assert [sighting.located for sighting in sightings] == located


def test_a_card_that_is_not_indexed_is_not_identified(specs, images, loaded):
    recognizer = Recognizer(ProjectionEmbedder(), loaded)
    for spec, image in zip(specs, images, strict=True):
        hidden = HiddenArtworkIndex(loaded.index, loaded.gallery, spec.artwork_group)
        recognizer.swap(LoadedGallery("without", loaded.gallery, hidden, loaded.thresholds))
        assert not isinstance(recognizer.recognize(image, [whole(image)])[0].decision, Identified)


def test_without_located_cards_nothing_is_embedded(loaded):
    assert Recognizer(ProjectionEmbedder(), loaded).recognize(np.zeros((10, 10, 3), np.uint8), []) == ()


def test_an_empty_index_gives_unknown_with_that_reason(images):
    sighting = Recognizer(ProjectionEmbedder(), loaded_gallery([], [])).recognize(images[0], [whole(images[0])])[0]
    assert sighting.decision == Unknown(RejectReason.EMPTY_INDEX, 0.0, ())


def test_a_swap_does_not_affect_pending_sightings(specs, images, loaded):
    recognizer = Recognizer(ProjectionEmbedder(), loaded)
    pending = recognizer.submit(images[0], [whole(images[0])])
    recognizer.swap(loaded_gallery(specs[5:6], images[5:6], "other"))
    assert pending.loaded.index_id == "test"
    assert pending.result(1.0)[0].decision.best.card_id == specs[0].card_id
    assert recognizer.loaded.index_id == "other"
    assert not isinstance(recognizer.recognize(images[0], [whole(images[0])])[0].decision, Identified)


def test_an_embedder_that_never_answers_is_an_error(images, loaded):
    class Silent(ProjectionEmbedder):
        def submit(self, batch):
            return Future()

    pending = Recognizer(Silent(), loaded).submit(images[0], [whole(images[0])])
    assert not pending.done()
    with pytest.raises(EmbedderTimeoutError, match="cardedge check"):
        pending.result(0.01)


def test_an_error_of_the_embedder_is_raised(images, loaded):
    class Broken(ProjectionEmbedder):
        def submit(self, batch):
            future = Future()
            future.set_exception(EmbedderError("the network rerotated NaN"))
            return future

    with pytest.raises(EmbedderError, match="NaN"):
        Recognizer(Broken(), loaded).recognize(images[0], [whole(images[0])])
