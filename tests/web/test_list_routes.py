"""The routes of the lists and their messages, against a served page."""

from tests.web.served import serve, until


def active(served):
    return served.client.get("/api/lists/active").json()


def lines(served):
    return [(line["card_id"], line["quantity"], line["waiting"]) for line in active(served)["update"]["put"]]


def command(served, do, **fields):
    return served.client.post("/api/lists/active/commands", json={"do": do, **fields})


def counted(served, card_id):
    served.show({20: card_id})
    served.event("identified", card_id)
    until(lambda: any(line[0] == card_id for line in lines(served)), "counting the card")


def test_two_screens_follow_the_same_list(served):
    with served.stream() as first, served.stream() as second:
        counted(served, "a")
        updates = [following("list_change").data for following in (first, second)]
        assert updates[0] == updates[1]
        assert (updates[0]["outcome"]["kind"], updates[0]["put"][0]["name"], updates[0]["cards"]) == ("counted", "Card A", {"a": 1})
        changed = command(served, "edit", line=1, finish="foil").json()
        assert [following("list_change").data for following in (first, second)] == [changed, changed]
        assert changed["put"][0]["finish"] == "foil"
        assert first("session_change").data["cards"][0]["count"] == 1
    assert command(served, "edit", line=1, finish="etched", seen=changed["revision"] - 1).status_code == 409


def test_a_command_is_on_the_disk_when_it_is_answered(tmp_path):
    with serve(tmp_path) as served:
        command(served, "add", card_id="a", copies=3)
        command(served, "undo")
        command(served, "redo")
        (journal,) = (tmp_path / "review" / "lists").glob("*.journal")
        kept = journal.read_bytes()
        journal.with_name("copy").write_bytes(kept)
    journal.with_name("copy").replace(journal)  # as a kill after the last answer would leave it
    with serve(tmp_path) as served:
        assert lines(served) == [("a", 3, False)]
        assert active(served)["update"]["undo"] == {"action": "count", "name": "Card A", "count": 3}


def test_lists_are_begun_resumed_and_deleted(served):
    first = active(served)["header"]["list_id"]
    with served.stream() as following:
        overview = served.client.post("/api/lists", json={"name": "Saturday"}).json()
        assert following("lists").data == overview
        assert following("session").data["total"] == 0
    assert (overview[0]["name"], overview[0]["active"]) == ("Saturday", True)
    counted(served, "a")
    assert served.client.post(f"/api/lists/{first}/resume").json()[0]["list_id"] == first
    assert lines(served) == []
    assert served.client.post("/api/lists/active/pause").json()[0]["paused"]
    saturday = overview[0]["list_id"]
    assert len(served.client.post(f"/api/lists/{saturday}/delete").json()) == 1
    assert served.client.get(f"/api/lists/{saturday}").status_code == 409


def test_a_settled_card_is_published_as_a_correction_and_kept_for_review(served, tmp_path):
    served.show(frames=20)  # a card that lies there from the start would be taken for the table
    served.show({20: "?"}, frames=40)
    until(lambda: lines(served) == [(None, 1, True)], "the unknown card in the queue")
    update = command(served, "settle", line=1, card_id="b").json()
    assert update["waiting"] == 0
    assert served.event("corrected").card_id == "b"
    assert lines(served) == [("b", 1, False)]
    until((tmp_path / "review" / "truth.csv").exists)


def test_a_refused_command_names_what_is_wrong(served):
    assert command(served, "fly").status_code == 422
    answer = command(served, "edit", line=5, finish="foil")
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "line 5 is not in the list any more; it was removed here or on another screen",
    )
    assert "finish" in command(served, "edit", line=5, finish="gold").json()["error"]
