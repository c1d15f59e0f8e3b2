"""Export, import, prices and pictures over HTTP."""

import csv
import io
import zipfile

from tests.web.served import until


def test_a_list_is_checked_exported_and_imported_as_a_wanted_list(served):
    commands = "/api/lists/active/commands"
    served.client.post(commands, json={"do": "add", "card_id": "a", "copies": 3})
    profiles = {one["profile"]: one for one in served.client.get("/api/profiles").json()["profiles"]}
    assert profiles["manabox"]["name"] == "ManaBox"
    check = served.client.get("/api/lists/active/check?profile=manabox").json()
    assert (check["lines"], check["copies"], [gap["column"] for gap in check["gaps"]]) == (1, 3, ["Scryfall ID", "Language"])
    answer = served.client.get("/api/lists/active/export?profile=manabox")
    assert 'filename="manabox.csv"' in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["Name"], row["Set code"], row["Quantity"]) == ("Card A", "S1", "3")
    overview = served.client.post("/api/lists", json={"name": "Wants", "kind": "wanted"}).json()
    wanted = next(one["list_id"] for one in overview if one["kind"] == "wanted")
    with served.stream() as following:
        imported = served.client.post(f"/api/lists/{wanted}/import?profile=manabox", content=answer.content).json()
        assert (imported["rows"], imported["unmatched"], imported["update"]["quantity"]) == (1, 0, 3)
        assert {one["quantity"] for one in following("lists").data} == {3}
    refused = served.client.post(f"/api/lists/{wanted}/import?profile=manabox", content=b"Name,Quantity\nNobody,1\n")
    assert (refused.status_code, "'Nobody, 1': the index does not have this card" in refused.json()["error"]) == (422, True)
    assert served.client.get("/api/lists/active/export?profile=none").status_code == 409


def test_a_profile_of_the_shop_is_used_as_soon_as_it_is_there(served, tmp_path):
    folder = tmp_path / "review" / "profiles"
    folder.mkdir(parents=True)
    (folder / "till.toml").write_text('name = "Till"\nfile = "till.csv"\ncolumns = [{ name = "N", field = "quantity" }]\n')
    (folder / "wrong.toml").write_text("name")
    listed = served.client.get("/api/profiles").json()
    assert "till" in {one["profile"] for one in listed["profiles"]}
    assert "wrong.toml: is not TOML" in listed["problems"][0]
    assert served.client.get("/api/lists/active/export?profile=till").text == "N\n"


def test_a_price_file_is_loaded_shown_and_dropped(served):
    served.client.post("/api/lists/active/commands", json={"do": "add", "card_id": "a", "copies": 2})
    loaded = served.client.post("/api/prices?day=2026-11-01", content=b"card_id,price_eur\na,1.25\n").json()
    assert loaded == {"currency": "EUR", "day": "2026-11-01", "cards": 1}
    assert served.client.get("/api/lists/active").json()["update"]["totals"]["value"] == 2.5
    assert served.client.post("/api/prices", content=b"nonsense").status_code == 422
    assert served.client.get("/api/prices").json() == loaded
    assert served.client.post("/api/prices/clear").json() == {"currency": None, "day": None, "cards": None}
    assert served.client.get("/api/lists/active").json()["update"]["totals"]["unpriced"] == 2


def test_the_bin_of_the_rules_is_published_and_pictures_are_exported(served, tmp_path):
    rules = '[[rule]]\nbin = "Box 1"\nset = ["S1"]\n'
    served.client.post("/api/lists/active/commands", json={"do": "configure", "rules": rules, "keep_pictures": True})
    with served.stream() as following:
        served.show({20: "a"})
        assert following("card").data["bin"] == "Box 1"
        assert following("list_change").data["outcome"]["bin"] == "Box 1"
    event = served.event("identified", "a")
    assert event.bin == "Box 1"
    until((tmp_path / "review" / "lists" / "pictures" / f"{event.event_id}.jpg").exists, "keeping the picture")
    answer = served.client.get("/api/lists/active/export?profile=cardedge_csv&pictures=1")
    assert sorted(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == ["cards.csv", "pictures/1-a.jpg"]
