"""``cardedge index info | verify | list | activate | rollback | search``: output and exit status."""

import json

import pytest

from edge.cli.main import main
from edge.errors import ExitCode
from edge.index import releases
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors


@pytest.fixture
def bundle(tmp_path):
    path = tmp_path / "bundle"
    write_vectors_bundle(path, random_vectors(30, 16), artwork_groups=["shared", "shared", *map(str, range(28))], image=b"jpeg")
    return path


@pytest.fixture
def cardedge(capsys):
    """Return a function that runs ``cardedge index …`` and returns exit status, standard output and standard error."""

    def run(*arguments):
        status = main(["index", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def root(tmp_path):
    return tmp_path / "index"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_info_describes_the_bundle(cardedge, bundle):
    status, printed, _ = cardedge("info", bundle)
    assert status == ExitCode.OK
    for expected in ("30 cards, 29 artworks, 30 entries", "projection-of-thumbnail", "not calibrated; defaults apply", "recall"):
        assert expected in printed


def test_info_as_json_is_the_manifest_with_the_path(cardedge, bundle):
    _, printed, _ = cardedge("info", "--index", bundle, "--json")
    (answer,) = lines(printed)
    assert answer == {"path": str(bundle.resolve()), **json.loads((bundle / "manifest.json").read_text())}


def test_verify_reports_entries_and_queries(cardedge, bundle):
    status, printed, _ = cardedge("verify", bundle, "--json")
    (answer,) = lines(printed)
    assert status == ExitCode.OK
    assert (answer["status"], answer["entries"], answer["self_test_queries"]) == ("ok", 30, 16)


@pytest.mark.parametrize("name", ["vectors.npy", "links.bin", "cards.sqlite", "pictures.bin", "manifest.json"])
def test_verify_of_a_damaged_bundle_names_the_file(cardedge, bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    status, printed, errors = cardedge("verify", bundle, "--json")
    assert (status, printed) == (ExitCode.BAD_DATA, "")
    assert name in errors


def test_verify_hashes_files_even_if_a_stamp_holds(cardedge, bundle, root, monkeypatch):
    bundle_id = releases.install(root, bundle).bundle_id
    releases.activate(root, bundle_id)
    monkeypatch.setattr(releases, "stamp_holds", lambda directory: True)
    path = root / "releases" / bundle_id / "cards.sqlite"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cardedge("info", root)[0] == ExitCode.OK
    assert cardedge("verify", root)[0] == ExitCode.BAD_DATA


def test_releases_are_activated_listed_and_rolled_back(cardedge, root, tmp_path):
    ids = []
    for seed in range(2):
        write_vectors_bundle(tmp_path / f"b{seed}", random_vectors(10, 16, seed=seed))
        status, printed, _ = cardedge("activate", tmp_path / f"b{seed}", "--index", root, "--json")
        (answer,) = lines(printed)
        assert status == ExitCode.OK
        ids.append(answer["current"])
        assert answer["previous"] == (ids[0] if seed else None)
    _, printed, _ = cardedge("list", "--index", root, "--json")
    assert {(line["bundle_id"], line["current"], line["previous"]) for line in lines(printed)} == {
        (ids[1], True, False),
        (ids[0], False, True),
    }
    _, printed, _ = cardedge("rollback", "--index", root)
    assert f"current is {ids[0]}" in printed
    _, printed, _ = cardedge("activate", ids[1], "--index", root)
    assert f"current is {ids[1]}" in printed
    _, printed, _ = cardedge("list", "--index", root)
    assert [line.split()[1] for line in printed.splitlines() if ids[1] in line] == ["current"]


def test_list_of_an_empty_index_is_empty_and_of_a_missing_one_bad_data(cardedge, root):
    (root / "releases").mkdir(parents=True)
    assert cardedge("list", "--index", root) == (ExitCode.OK, "", "")
    status, _, errors = cardedge("list", "--index", root / "nowhere")
    assert status == ExitCode.BAD_DATA
    assert "no such directory" in errors


def test_search_by_words(cardedge, bundle):
    _, printed, _ = cardedge("search", "name card-1", "--index", bundle, "--json", "--limit", 5)
    found = lines(printed)
    assert len(found) == 5
    assert all(line["card_id"].startswith("card-1") for line in found)
    assert cardedge("search", "dragon", "--index", bundle) == (ExitCode.OK, "", "no card found\n")


def test_search_lists_cards_with_their_printings(cardedge, bundle):
    _, printed, _ = cardedge("search", "card-1", "--index", bundle, "--json", "--limit", 30)
    card = next(line for line in lines(printed) if line["card_id"] == "card-1")
    assert (card["name"], card["set"], card["number"], card["printings"]) == ("Name card-1", "T1", "1", ["card-0", "card-1"])


def test_search_for_cards_similar_to_a_card(cardedge, bundle):
    _, printed, _ = cardedge("search", "--like", "card-3", "--index", bundle, "--json", "--limit", 4)
    found = lines(printed)
    similarities = [line["similarity"] for line in found]
    assert len(found) == 4
    assert similarities == sorted(similarities, reverse=True)
    assert "card-3" not in {line["card_id"] for line in found}
    stored = random_vectors(30, 16)
    best = max((row for row in range(30) if row != 3), key=lambda row: stored[row] @ stored[3])
    assert found[0]["card_id"] == f"card-{best}"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["search"], ExitCode.USAGE, "give either words, --like ID, --vector FILE or --describe TEXT"),
        (["search", "a", "--like", "b"], ExitCode.USAGE, "give either words, --like ID, --vector FILE or --describe TEXT"),
        (["search", "--like", "nope"], ExitCode.BAD_DATA, "no card 'nope'; find its id with"),
        (["search", "a", "--limit", "0"], ExitCode.USAGE, "'0' is not a whole number of at least 1"),
        (["activate", "0123456789abcdef"], ExitCode.BAD_DATA, "no such release; see `cardedge index list`"),
        (["rollback"], ExitCode.BAD_DATA, "no previous release"),
        ([], ExitCode.USAGE, "SUBCOMMAND"),
        (["destroy"], ExitCode.USAGE, "invalid choice"),
    ],
)
def test_an_error_is_printed_on_standard_error(cardedge, bundle, root, arguments, status, message):
    directory = bundle if arguments[:1] == ["search"] else root
    options = ["--index", directory] if arguments and arguments[0] != "destroy" else []
    root.mkdir()
    found, printed, errors = cardedge(*arguments, *options)
    assert (found, printed) == (status, "")
    assert message in errors
