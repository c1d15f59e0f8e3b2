"""Building a bundle: which lists and pictures are taken, which are refused, and what comes out."""

import io
import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.bundles.bundle import open_bundle
from edge.errors import DataError, ExitCode, ImageError
from edge.recognition.artwork import artwork_view, same_artwork
from edge.recognition.embedding import to_input_batch
from edge.recognition.verification import signature_of
from edge.vision.card import rectify, whole_image_quad
from edge.vision.image_file import read_image
from tests.support.stand_ins import ProjectionEmbedder
from tools import build_index as tool
from tools.bundle_build.build import BuildSettings, build_index
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.finding import FindingKind
from tools.bundle_build.reference import read_reference

SIZE = (252, 352)


def picture(seed, size=SIZE, mode="RGB"):
    """A random picture with fine lines, as print has them: one seed, one artwork."""
    colors = np.random.default_rng(seed).integers(0, 256, (11, 8, 3), dtype=np.uint8)
    pixels = cv2.resize(colors, size, interpolation=cv2.INTER_CUBIC)
    pixels[size[1] * 3 // 5 :: 10, size[0] // 8 : -size[0] // 8] = 20
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(6):
        picture(seed).save(folder / f"{seed}.png")
    return folder


def write_list(tmp_path, text, name="cards.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def build(tmp_path, images, text, **options):
    seen = []
    settings = BuildSettings(**{"name": "test", "threads": 2, **options})
    card_list = read_card_list(write_list(tmp_path, text))
    built = build_index(card_list, images, tmp_path / "out", ProjectionEmbedder(max_batch=2), settings, advance=seen.append)
    return built, open_bundle(tmp_path / "out"), seen


def numbered(count, extra=""):
    return "card_id,name,image\n" + "".join(f"c{seed},Card {seed},{seed}.png\n" for seed in range(count)) + extra


def test_cards_come_out_as_they_went_in(tmp_path, images):
    text = 'card_id,name,image,set,number,rarity,language,price\nB1-7,"Élan, Vital",0.png,B1,7,C,fr,"1,20 €"\nB1-8,Storm,1.png,B1,8,,,\n'
    built, bundle, seen = build(tmp_path, images, text)
    card = bundle.gallery.cards["B1-7"]
    assert (card.name, card.set, card.number, card.rarity, card.language, card.attributes) == (
        "Élan, Vital",
        "B1",
        "7",
        "C",
        "fr",
        {"price": "1,20 €"},
    )
    assert bundle.gallery.cards["B1-8"].rarity is None
    assert bundle.gallery.cards["B1-8"].attributes == {}
    assert built.left_out == ()
    assert sum(seen) == 2


def test_an_entry_holds_what_the_daemon_would_compute(tmp_path, images):
    _, bundle, _ = build(tmp_path, images, numbered(5))
    pixels = read_image(images / "3.png")
    card = rectify(pixels, whole_image_quad(pixels))
    embedded = ProjectionEmbedder().submit(to_input_batch([card])).result()[0]
    assert np.allclose(bundle.vectors[3], embedded, atol=2e-3)
    assert np.array_equal(bundle.gallery.signatures[3], signature_of(card))
    shown = Image.open(io.BytesIO(bundle.reference_image("c3")))
    assert (shown.format, shown.size) == ("JPEG", (126, 176))
    small = cv2.resize(card, (126, 176), interpolation=cv2.INTER_AREA)
    assert np.abs(np.asarray(shown).astype(int) - small).mean() < 4


def test_the_order_is_the_lists_whatever_the_threads_do(tmp_path, images):
    _, bundle, _ = build(tmp_path, images, numbered(6), threads=4)
    assert bundle.gallery.entry_card_ids == ("c0", "c1", "c2", "c3", "c4", "c5")


def test_two_pictures_of_one_card_are_two_entries(tmp_path, images):
    _, bundle, _ = build(tmp_path, images, numbered(2, "c0,Card 0,5.png\n"))
    assert bundle.gallery.entry_card_ids == ("c0", "c1", "c0")
    assert (bundle.manifest.cards, bundle.manifest.entries, bundle.manifest.artwork_groups) == (2, 3, 2)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *itertools.product([".png", ".webp", ".bmp", ".tif", ".gif", ".tga"], ["RGB", "L", "P", "RGBA"]),
        *itertools.product([".jpg", ".jp2", ".ppm"], ["RGB", "L"]),
        (".jpg", "CMYK"),
    ],
)
def test_any_format_pillow_reads(tmp_path, suffix, mode):
    path = tmp_path / f"card{suffix}"
    picture(1, mode=mode).save(path)
    network_input, _ = read_reference(path)
    expected, _ = read_reference(_saved(picture(1, mode=mode).convert("RGB"), tmp_path / "plain.png"))
    assert np.abs(network_input.astype(int) - expected).mean() < (20 if mode in {"P", "RGBA"} or suffix == ".gif" else 8)


def _saved(image, path, **options):
    image.save(path, **options)
    return path


def test_exif_rotation_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture(1).transpose(Image.Transpose.ROTATE_90)
    network_input, _ = read_reference(_saved(turned, tmp_path / "turned.jpg", exif=exif, quality=95))
    expected, _ = read_reference(_saved(picture(1), tmp_path / "plain.png"))
    assert np.abs(network_input.astype(int) - expected).mean() < 5


def test_a_transparent_border_is_cut_away(tmp_path):
    card = picture(1, mode="RGBA")
    bordered = Image.new("RGBA", (SIZE[0] + 30, SIZE[1] + 24), (0, 0, 0, 0))
    bordered.paste(card, (20, 8))
    network_input, _ = read_reference(_saved(bordered, tmp_path / "bordered.png"))
    expected, _ = read_reference(_saved(card, tmp_path / "plain.png"))
    assert np.array_equal(network_input, expected)


def test_rounded_transparent_corners_become_white(tmp_path):
    card = np.array(picture(1, mode="RGBA"))
    card[:12, :12, 3] = 0
    network_input, _ = read_reference(_saved(Image.fromarray(card), tmp_path / "rounded.png"))
    assert (network_input[0, :5, :5] == 255).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (picture(1, (352, 252)), "shaped 352x252, a card is 63:88; turn it upright"),
        (picture(1, (300, 360)), "shaped 300x360, a card is 63:88; crop it to the card's edges"),
        (picture(1, (63, 88)), r"too small \(63x88, at least 126x176\)"),
        (Image.new("RGB", SIZE, (200, 30, 30)), "blank"),
        (Image.new("RGBA", SIZE, (0, 0, 0, 0)), "entirely transparent"),
    ],
    ids=["landscape", "square", "small", "blank", "transparent"],
)
def test_pictures_that_show_no_card_are_named(tmp_path, image, message):
    with pytest.raises(ImageError, match=rf"odd\.png: {message}"):
        read_reference(_saved(image, tmp_path / "odd.png"))


def test_bad_pictures_are_named_and_left_out_and_the_rest_is_built(tmp_path, images):
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:300])
    (images / "3.png").unlink()
    picture(4, (352, 252)).save(images / "4.png")
    built, bundle, seen = build(tmp_path, images, numbered(6))
    assert bundle.gallery.entry_card_ids == ("c0", "c2", "c5")
    assert [(left_out.row.line, left_out.row.image) for left_out in built.left_out] == [(3, "1.png"), (5, "3.png"), (6, "4.png")]
    assert all(left_out.row.image in left_out.reason for left_out in built.left_out)
    assert sum(seen) == 6


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path, images):
    for path in images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of its 3 images is usable; the first: .*0\.png: is empty"):
        build(tmp_path, images, numbered(3))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cards.csv", "images"]


def test_a_present_out_is_refused_before_any_work(tmp_path, images):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DataError, match="out: already exists"):
        build(tmp_path, images, numbered(3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "line 1: no header row; it must name the columns card_id, name, image"),
        (b"\n\n", "line 1: no header row"),
        ("card_id,name,image\n", "lists no card"),
        ("card_id,image\na,b\n", r"line 1: no column name \(found: card_id, image\)"),
        (
            "card_id;name;image\na;b;c\n",
            r"line 1: no column card_id, name, image \(found: card_id;name;image\); add it, separated by commas",
        ),
        ("card_id,name,image,name\na,b,c,d\n", "line 1: column 'name' occurs twice"),
        ("card_id,name,image\na,b,c\nd,e\n", "line 3: 2 fields, the header names 3"),
        ("card_id,name,image\na,b,c,d\n", "line 2: 4 fields, the header names 3; quote fields that hold commas"),
        ("card_id,name,image\na,b,c\n\nd,,f\n", "line 4: name is empty"),
        ("card_id,name,image\n ,b,c\n", "line 2: card_id is empty"),
        ("card_id,name,image\na,b\x07,c\n", r"none of its 1 rows is usable; the first, line 2: name holds U\+0007"),
        ("card_id,na\x00me,image\na,b,c\n", r"line 1: a column's name holds U\+0000"),
        ('card_id,name,image\na,"b,c\n', r"line \d: unexpected end of data; check quotes"),
        ("card_id,name,image\na,b,c\nd,e,f\na,b,c\n", "line 4: card a with c is already in line 2; remove one"),
        ("card_id,name,image\na,b,c\na,B,d\n", "line 3: card a differs from line 2 in name; give it another card_id"),
        ("card_id,name,image,price\na,b,c,1\na,b,d,2\n", "line 3: card a differs from line 2 in attributes"),
        ("card_id,name,image\na,b,c\nd,é,f\n".encode("latin-1"), "line 3: not UTF-8 .byte 0xe9.; save the list as UTF-8"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"cards\.csv.* {message}") as refused:
        read_card_list(write_list(tmp_path, text))
    assert refused.value.exit_code == ExitCode.BAD_DATA


def test_an_absent_list_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cards\.csv: cannot be read \(No such file or directory\); name the card list with --cards"):
        read_card_list(tmp_path / "cards.csv")


def test_byte_order_mark_blank_lines_spaces_and_windows_line_ends_are_taken(tmp_path):
    text = "\ufeffcard_id, name ,image\r\na,  b  ,c\r\n\r\n,,\r\nd,e,f\r\n"
    rows = read_card_list(write_list(tmp_path, text)).rows
    assert [(row.line, row.card.card_id, row.card.name, row.image) for row in rows] == [(2, "a", "b", "c"), (5, "d", "e", "f")]


def test_spaces_joiners_and_line_breaks_of_catalogs_are_text(tmp_path):
    text = 'card_id,name,image,number,price,text\na,Renard braise\u00a0!,0.png,12\u202f34,"1\u00a0234,00","Flying\r\nDraw a\tcard.\u2028"\n'
    text += "b,\u9ed2\u3044\u3000\u72d0\u200d,1\u00a0a.png,,,\nc,E\u0301lan,e\u0301.png,,,\n"
    cards = read_card_list(write_list(tmp_path, text))
    first, second, third = cards.rows
    assert (first.card.name, first.card.number) == ("Renard braise !", "12 34")
    assert first.card.attributes == {"price": "1 234,00", "text": "Flying\nDraw a card."}
    assert (second.card.name, second.image) == ("\u9ed2\u3044 \u72d0", "1\u00a0a.png")
    assert (third.card.name, third.image) == ("\u00c9lan", "e\u0301.png"), "a path is not changed: it names a file"
    assert cards.unusable == ()


def test_a_row_that_is_not_text_is_left_out_and_named(tmp_path, images):
    built, bundle, _ = build(tmp_path, images, numbered(2, "c2,Ca\x07rd,2.png\n"))
    (left_out,) = built.left_out
    assert (left_out.row.line, left_out.kind, left_out.reason) == (
        4,
        FindingKind.NOT_TEXT,
        "name holds U+0007, which is not text; correct the row",
    )
    assert tuple(bundle.gallery.cards) == ("c0", "c1")
    assert left_out.as_record()["card_id"] == "c2"
    (tmp_path / "strict").mkdir()
    with pytest.raises(DataError, match="1 not text; the first, line 4"):
        build(tmp_path / "strict", images, numbered(2, "c2,Ca\x07rd,2.png\n"), strict=True)


def reprint(path, seed, *, frame):
    """The same artwork in another frame, a little brighter, as JPEG."""
    pixels = np.array(picture(seed)).astype(float) * 1.05
    pixels[200:] = frame
    pixels[210::10, 30:-30] = 230
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=80)


def test_reprints_are_found_by_their_art(tmp_path, images):
    reprint(images / "r.jpg", 1, frame=(90, 20, 20))
    reprint(images / "rr.jpg", 1, frame=(20, 20, 90))
    built, bundle, _ = build(tmp_path, images, numbered(6, "r1,Reprint,r.jpg\nr2,Reprint,rr.jpg\n"))
    assert bundle.gallery.printings("c1") == ("c1", "r1", "r2")
    assert [len(bundle.gallery.printings(f"c{seed}")) for seed in (0, 2, 3, 4, 5)] == [1] * 5
    assert built.manifest.artwork_groups == 6


def test_one_drawing_in_two_colors_is_two_artworks():
    card = np.array(picture(1))
    luma = cv2.cvtColor(card, cv2.COLOR_RGB2GRAY)
    red, blue = (np.stack([luma if channel == kept else luma // 3 for channel in range(3)], axis=-1) for kept in (0, 2))
    assert same_artwork([artwork_view(red), artwork_view(blue), artwork_view(red)], ["a", "b", "c"]) == [0, 1, 0]


def test_flat_art_windows_are_never_the_same():
    flat = np.random.default_rng(0).integers(100, 103, (2, 352, 252, 3), dtype=np.uint8)
    flat[:, 300:] = 0
    assert same_artwork([artwork_view(card) for card in flat], ["a", "b"]) == [0, 1]


def test_pictures_of_one_card_join_what_each_of_them_resembles():
    views = [artwork_view(np.array(picture(seed))) for seed in (1, 2, 3, 2)]
    assert same_artwork(views, ["a", "b", "c", "a"]) == [0, 0, 2, 0]
    assert same_artwork([], []) == []


def test_groups_in_the_list_are_taken_as_they_are(tmp_path, images):
    text = "card_id,name,image,artwork_group\na,A,0.png,g\nb,B,1.png,g\nc,C,2.png,\nd,D,2.png,\n"
    _, bundle, _ = build(tmp_path, images, text)
    assert bundle.gallery.printings("a") == ("a", "b")
    assert bundle.gallery.printings("c") == ("c",)


def run(capsys, monkeypatch, *arguments):
    """Run the command with the projection in the network's place."""

    class Network(ProjectionEmbedder):
        def __init__(self, model, **settings):
            super().__init__()

    monkeypatch.setattr(tool, "OnnxEmbedder", Network)
    monkeypatch.setattr(tool, "find_model", lambda named: named)
    monkeypatch.setattr(tool, "open_model", lambda folder: folder)
    monkeypatch.setattr(tool, "self_test", lambda submit, model, kind: 1.0)
    try:
        status = tool.main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_prints_one_json_object_and_names_what_it_left_out(tmp_path, images, capsys, monkeypatch):
    cards = write_list(tmp_path, numbered(6, "x,X,missing.png\n"))
    out = tmp_path / "out"
    status, printed, errors = run(capsys, monkeypatch, "--images", images, "--cards", cards, "--out", out, "--name", "mine", "--json")
    answer = json.loads(printed)
    assert status == ExitCode.OK
    assert (answer["name"], answer["cards"], answer["bundle_id"]) == ("mine", 6, open_bundle(out).manifest.bundle_id)
    assert [left_out["line"] for left_out in answer["left_out"]] == [8]
    assert "left out, line 8" in errors
    assert "missing.png" in errors


def test_strict_writes_nothing_when_something_would_be_left_out(tmp_path, images, capsys, monkeypatch):
    cards = write_list(tmp_path, numbered(6, "x,X,missing.png\n"))
    status, printed, errors = run(
        capsys, monkeypatch, "--images", images, "--cards", cards, "--out", tmp_path / "out", "--strict", "--threads", 1
    )
    assert (status, printed) == (ExitCode.BAD_DATA, "")
    assert "cards.csv: 1 unreadable; the first, line 8:" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["--images", "a"], ["--images", "a", "--cards", "b", "--out", "c", "--threads", "0"]])
def test_a_wrong_command_line_is_64(capsys, monkeypatch, arguments):
    status, printed, errors = run(capsys, monkeypatch, *arguments)
    assert (status, printed) == (ExitCode.USAGE, "")
    assert "usage: build_index" in errors


def test_a_bad_list_is_65_and_leaves_nothing(tmp_path, images, capsys, monkeypatch):
    status, printed, errors = run(capsys, monkeypatch, "--images", images, "--cards", tmp_path / "no.csv", "--out", tmp_path / "out")
    assert (status, printed) == (ExitCode.BAD_DATA, "")
    assert "no.csv: cannot be read" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif("CARDEDGE_DATA" not in os.environ, reason="CARDEDGE_DATA names no folder of real scans")
def test_reprints_among_real_scans_are_found_and_nothing_else():
    folder = Path(os.environ["CARDEDGE_DATA"])
    rows = read_card_list(folder / "cards.csv").rows
    found = same_artwork([read_reference(folder / row.image)[1].artwork for row in rows], [row.card.card_id for row in rows])
    pairs = {frozenset((rows[first].card.card_id, rows[entry].card.card_id)) for entry, first in enumerate(found) if entry != first}
    assert pairs == {frozenset(pair) for pair in json.loads((folder / "same_artwork.json").read_text())}
