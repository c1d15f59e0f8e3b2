"""Cards added on the device: kept across updates, searched with the release, exported, removed, and left out if broken."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import load_gallery, make_vector_index, overlay_index
from edge.errors import BundleError, DataError, ImageError, ModelMismatchError
from edge.index import overlay, releases
from edge.index.change import NewCard
from edge.index.loading import BundleLoader, image_to_add, load_with_overlay
from edge.recognition.decision import Identified
from edge.recognition.gallery import Card
from edge.recognition.model import open_model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.recognition.verification import signature_of
from edge.settings.sections import Settings
from edge.vision.card import LocatedCard, whole_image_quad
from edge.vision.locate import BOTH_WAYS, locate_cards
from edge.vision.single_card import from_photo, from_scan
from tests.support.small_scanner import make_small_scanner, on_table, write_index, write_projection_model
from tools.bundle_build.card_list import read_card_list


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_small_scanner(tmp_path_factory.mktemp("world"))


def loading_of(model_folder, embedder):
    return BundleLoader(
        open_model(model_folder).model_id,
        embedder.info.artifact_sha256,
        load_gallery,
        overlay_index,
    )


@pytest.fixture(scope="module")
def network(world):
    embedder = OnnxEmbedder(open_model(world.model), threads=1)
    yield SimpleNamespace(
        embedder=embedder, loading=loading_of(world.model, embedder), embed=lambda batch: embedder.submit(batch).result(30)
    )
    embedder.close()


@pytest.fixture
def root(world, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, world.index).bundle_id)
    return root


@pytest.fixture
def shop(network):
    return network.loading.overlay_writer(network.embed)


def a_card(card_id="promo-1", **facts):
    return Card(CardId(card_id), facts.pop("name", "The Stranger"), card_id, **facts)


def opened(root, network):
    return load_with_overlay(root, releases.open_index(root), Settings(), network.loading)


def seen(root, network, pixels):
    """Return the decision of a scanner with this index about an upright card."""
    recognizer = Recognizer(network.embedder, opened(root, network).loaded)
    (sighting,) = recognizer.recognize(pixels, [LocatedCard(whole_image_quad(pixels), BOTH_WAYS, 0.0)])
    return sighting.decision


def test_an_added_card_is_recognized_with_the_others(root, network, shop, world):
    before = seen(root, network, world.unknown_card)
    assert not (isinstance(before, Identified) and before.best.card_id == "promo-1")
    overlay.add_images(root, [overlay.AddedImage(a_card(set="promo"), world.unknown_card)], shop)
    decision = seen(root, network, world.unknown_card)
    assert isinstance(decision, Identified)
    assert decision.best.card_id == "promo-1"
    for card_id, picture in world.images.items():
        assert seen(root, network, picture).best.card_id == card_id
    answer = opened(root, network)
    assert answer.loaded.gallery.cards[CardId("promo-1")].set == "promo"
    assert (answer.added_images, answer.added_problem) == (1, None)
    assert answer.loaded.index_id == releases.current_id(root)


def test_it_survives_an_update_of_the_bundle(root, network, shop, world, tmp_path):
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    fewer = write_index(tmp_path / "fewer", world.model, dict(list(world.images.items())[:3]))
    releases.activate(root, releases.install(root, fewer).bundle_id)
    assert seen(root, network, world.unknown_card).best.card_id == "promo-1"


def test_it_joins_an_empty_release(network, shop, world, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, write_index(tmp_path / "none", world.model, {})).bundle_id)
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    assert seen(root, network, world.unknown_card).best.card_id == "promo-1"


def test_the_joined_index_answers_like_one_index_of_all_cards(root, network, shop, world, tmp_path):
    cards = list(world.images.items())
    main = write_index(tmp_path / "main", world.model, dict(cards[:5]))
    releases.activate(root, releases.install(root, main).bundle_id)
    added = [overlay.AddedImage(a_card(card_id, name=f"Name {card_id}"), picture) for card_id, picture in cards[5:]]
    overlay.add_images(root, added, shop)
    whole = make_vector_index(releases.open_index(world.index), "exact")
    joined = opened(root, network).loaded
    queries = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for k in (1, 4, 8, 50):
        for ours, theirs in zip(joined.index.search(queries, k), whole.search(queries, k), strict=True):
            # the one holds rows as float16, the other as float32: near ties may change places
            assert [joined.gallery.entry_card_ids[near.entry] for near in ours] == [near.card_id for near in ours]
            assert np.allclose([near.similarity for near in ours], [near.similarity for near in theirs], atol=2e-3)


def test_two_images_of_one_card(root, network, shop, world):
    darker = (world.unknown_card * 0.7).astype(np.uint8)
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    overlay.add_images(root, [overlay.AddedImage(a_card(), darker)], shop)
    gallery = opened(root, network).loaded.gallery
    assert gallery.entry_card_ids.count("promo-1") == 2
    assert len(gallery.cards) == len(world.images) + 1
    assert np.array_equal(gallery.signatures[-1], signature_of(darker))


def test_another_image_of_a_card_of_the_release_keeps_its_metadata(root, network, shop, world):
    known = next(iter(world.images))
    overlay.add_images(root, [overlay.AddedImage(a_card(known, name=f"Name {known}"), world.unknown_card)], shop)
    gallery = opened(root, network).loaded.gallery
    assert gallery.cards[known].set == "T"
    assert gallery.entry_card_ids.count(known) == 2
    assert seen(root, network, world.unknown_card).best.card_id == known


def test_a_reprint_joins_the_artwork_of_the_release(root, network, shop, world):
    known, picture = next(iter(world.images.items()))
    overlay.add_images(root, [overlay.AddedImage(a_card("reprint"), picture), overlay.AddedImage(a_card(), world.unknown_card)], shop)
    gallery = opened(root, network).loaded.gallery
    assert gallery.printings("reprint") == tuple(sorted([known, "reprint"]))
    assert gallery.printings("promo-1") == ("promo-1",)
    decision = seen(root, network, picture)
    assert isinstance(decision, Identified)
    assert set(decision.printings) == {known, "reprint"}, "a reprint does not eat the margin"


def test_an_equal_group_name_does_not_merge_artworks(root, network, shop, world):
    overlay.add_images(root, [overlay.AddedImage(a_card("art-D1-1"), world.unknown_card)], shop)
    assert opened(root, network).loaded.gallery.printings("art-D1-1") == ("art-D1-1",)


def test_contradicting_metadata_is_refused(root, shop, world):
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    before = overlay.overlay_id(root)
    with pytest.raises(DataError, match="promo-1 was added before as 'The Stranger'"):
        overlay.add_images(root, [overlay.AddedImage(a_card(name="Somebody else"), world.unknown_card)], shop)
    assert overlay.overlay_id(root) == before


def test_removing_a_card_keeps_the_vectors_of_the_others(root, network, shop, world):
    pictures = list(world.images.values())
    added = [overlay.AddedImage(a_card(f"p{number}"), pictures[number]) for number in range(3)]
    overlay.add_images(root, added, shop)
    before = overlay.open_overlay(root).vectors[[0, 2]].copy()
    overlay.remove_card(root, "p1")
    kept = overlay.open_overlay(root)
    assert kept.gallery.entry_card_ids == ("p0", "p2")
    assert np.array_equal(kept.vectors, before)
    assert len(list((root / "overlay" / "pictures").iterdir())) == 2, "the image of the removed card is gone"
    overlay.remove_card(root, "p0")
    overlay.remove_card(root, "p2")
    assert overlay.open_overlay(root) is None
    with pytest.raises(DataError, match="no such card was added"):
        overlay.remove_card(root, "p2")


def test_a_bundle_can_be_built_from_an_export(root, shop, world, tmp_path):
    card = a_card(set="promo", number="1", rarity="rare", language="en", attributes={"signed": "yes"})
    overlay.add_images(root, [overlay.AddedImage(card, world.unknown_card)], shop)
    assert overlay.export(root, tmp_path / "mine") == 1
    with (tmp_path / "mine" / "cards.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "card_id": "promo-1", "name": "The Stranger", "image": "pictures/0000.png", "set": "promo", "number": "1", "rarity": "rare",
        "language": "en", "signed": "yes",
    }  # fmt: skip
    (listed,) = read_card_list(tmp_path / "mine" / "cards.csv").rows
    assert (tmp_path / "mine" / listed.image).is_file()
    assert overlay.added_cards(root) == [card]
    with pytest.raises(DataError, match="already exists"):
        overlay.export(root, tmp_path / "mine")


def test_an_exported_card_reads_back_as_it_was_added(root, shop, world, tmp_path):
    new = NewCard("promo-1", "Renard braise\u00a0!\u200d", lambda: world.unknown_card, rectified=True, set="P\u3000R", number=' 7"\n,')
    image = image_to_add(new, {}, locate_cards)
    overlay.add_images(root, [image], shop)
    overlay.export(root, tmp_path / "mine")
    (listed,) = read_card_list(tmp_path / "mine" / "cards.csv").rows
    assert replace(listed.card, artwork_group="promo-1") == image.card == overlay.added_cards(root)[0]
    assert (image.card.name, image.card.set, image.card.number) == ("Renard braise !", "P R", '7" ,')
    with pytest.raises(DataError, match=r"set 'a\\x07' holds U\+0007, which is not text"):
        image_to_add(replace(new, set="a\x07"), {}, locate_cards)


def test_nothing_to_export(root, tmp_path):
    with pytest.raises(DataError, match="no card was added"):
        overlay.export(root, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_another_model_is_refused_with_advice_that_works(root, shop, world, tmp_path):
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    other = write_projection_model(tmp_path / "other", seed=1)
    with pytest.raises(ModelMismatchError, match="run `cardedge index refresh`"):
        overlay.open_overlay(root, expected_model_id=open_model(other).model_id)
    embedder = OnnxEmbedder(open_model(other), threads=1)
    try:
        loading = loading_of(other, embedder)
        assert overlay.refresh(root, loading.overlay_writer(lambda batch: embedder.submit(batch).result(30))) == 1
    finally:
        embedder.close()
    assert overlay.open_overlay(root, expected_model_id=open_model(other).model_id).gallery.entry_card_ids == ("promo-1",)


def break_record(number, root):
    lines = (root / "overlay" / "rows.journal").read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"a", b"b", 1)
    (root / "overlay" / "rows.journal").write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda root: break_record(0, root), r"rows\.journal: has no readable header; .*index remove --all"),
        (lambda root: (root / "overlay" / "rows.journal").write_bytes(b""), r"rows\.journal: has no readable header"),
        (lambda root: (root / "overlay" / "rows.journal").write_bytes(b"any\ntext\n"), r"rows\.journal: has no readable header"),
    ],
)
def test_broken_added_cards_are_left_out_with_the_reason_and_can_be_removed(root, network, shop, world, break_it, says):
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    break_it(root)
    answer = opened(root, network)
    assert set(answer.loaded.gallery.cards) == set(world.images)
    assert answer.added_images == 0
    with pytest.raises(BundleError, match=says):
        raise BundleError(answer.added_problem)
    overlay.remove_all(root)
    assert opened(root, network).added_problem is None


def test_a_damaged_record_costs_one_card_and_is_reported(root, network, shop, world):
    for number, picture in enumerate(list(world.images.values())[:3]):
        overlay.add_images(root, [overlay.AddedImage(a_card(f"p{number}"), picture)], shop)
    break_record(2, root)
    answer = opened(root, network)
    assert {"p0", "p2"} == set(answer.loaded.gallery.cards) - set(world.images)
    assert (answer.added_images, "1 of its records are damaged" in answer.added_problem) == (2, True)


def test_an_image_that_is_gone_is_named_when_it_is_needed(root, network, shop, world, tmp_path):
    overlay.add_images(root, [overlay.AddedImage(a_card(), world.unknown_card)], shop)
    (image,) = (root / "overlay" / "pictures").iterdir()
    image.unlink()
    assert seen(root, network, world.unknown_card).best.card_id == "promo-1"
    with pytest.raises(DataError, match="cannot be written"):
        overlay.export(root, tmp_path / "mine")
    with pytest.raises(DataError, match=image.name):
        overlay.refresh(root, shop)


def wanted(pixels, **fields):
    return NewCard(**{"card_id": "promo-1", "name": "The Stranger", "pixels": lambda: pixels} | fields)


@pytest.mark.parametrize("field", [{"card_id": ""}, {"card_id": " x"}, {"card_id": "a\nb"}, {"card_id": "x" * 129}, {"name": " "}])
def test_an_invalid_field_is_named(world, field):
    with pytest.raises(DataError, match=next(iter(field))):
        image_to_add(wanted(world.unknown_card, rectified=True, **field), {}, locate_cards)


def test_a_card_of_the_release_keeps_its_name(world):
    known = {CardId("promo-1"): a_card(name="Ember Fox")}
    with pytest.raises(DataError, match="promo-1 is 'Ember Fox' in the bundle"):
        image_to_add(wanted(world.unknown_card, rectified=True), known, locate_cards)
    assert image_to_add(wanted(world.unknown_card, rectified=True, name="Ember Fox"), known, locate_cards).card.name == "Ember Fox"


def test_a_photo_gives_the_card_upright(world):
    card = from_photo(on_table(world.unknown_card), "the photo", locate_cards)
    assert card.shape == (352, 252, 3)
    assert np.abs(signature_of(card).astype(int) - signature_of(world.unknown_card).astype(int)).mean() < 8


@pytest.mark.parametrize(
    ("scene", "says"),
    [
        (lambda world: on_table(), "no cards found, exactly one is needed"),
        (lambda world: on_table(world.unknown_card, next(iter(world.images.values()))), "2 cards found, exactly one is needed"),
        (lambda world: on_table(world.unknown_card, turned=1), "the card lies on its side"),
    ],
)
def test_a_photo_must_show_exactly_one_card_upright(world, scene, says):
    pixels = scene(world)
    assert len(locate_cards(pixels)) in (0, 1, 2)
    with pytest.raises(ImageError, match=f"the photo: {says}"):
        from_photo(pixels, "the photo", locate_cards)


@pytest.mark.parametrize(
    ("shape", "says"), [((352, 500, 3), "not the shape"), ((60, 43, 3), "too few"), ((352, 252, 3), "the card is blank")]
)
def test_a_scan_must_be_a_card(shape, says):
    with pytest.raises(ImageError, match=says):
        from_scan(np.full(shape, 90, dtype=np.uint8), "the scan")
