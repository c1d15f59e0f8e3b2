"""The tracker, called as by the daemon: frames at some rate, decisions some time later."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.recognition.decision import RejectReason
from edge.tracking.evidence import EvidencePolicy
from edge.tracking.tracker import Tracker, TrackPolicy
from edge.vision.card import overlap
from tests.tracking.table import (
    IDENTIFIED,
    REMOVED,
    UNCERTAIN,
    UNKNOWN,
    S,
    Table,
    always,
    card_at,
    groups,
    in_turn,
    kinds,
    named,
    nothing,
    strong,
    unsure,
)


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        pytest.param([strong("a")], [IDENTIFIED], id="one strong image is enough"),
        pytest.param([named("a"), named("a")], [IDENTIFIED], id="two that agree are enough"),
        pytest.param([named("a", card_id="a-1"), named("a", card_id="a-2")], [IDENTIFIED], id="printings of one artwork agree"),
        pytest.param([named("a"), nothing()], [UNKNOWN], id="one weak image is not enough"),
        pytest.param([named("a"), named("b")] * 60, [UNCERTAIN], id="two identifications contradict"),
        pytest.param([named("a", 0.5), named("a", 0.5)], [IDENTIFIED], id="images accepted by a lower threshold have a vote each"),
        pytest.param([named("a", 0.90), nothing()], [IDENTIFIED], id="twice the log-odds of an image just accepted are enough"),
        pytest.param([named("a", 0.82), nothing()], [UNKNOWN], id="less than that is not enough"),
        pytest.param([unsure("a")] * 60, [UNCERTAIN], id="images below the threshold have no vote, however many agree"),
        pytest.param([nothing()], [UNKNOWN], id="no similar card"),
        pytest.param([unsure("a")], [UNCERTAIN], id="too weak"),
        pytest.param([nothing(), nothing(), strong("a")], [IDENTIFIED], id="bad first images of a card sliding in"),
        pytest.param([*[nothing()] * 9, named("a")], [UNKNOWN, IDENTIFIED], id="unknown becomes identified"),
        pytest.param([*[nothing()] * 9, strong("a"), nothing()], [UNKNOWN], id="one strong image does not overturn unknown"),
        pytest.param([*[nothing()] * 9, unsure("a")], [UNKNOWN, UNCERTAIN], id="unknown becomes uncertain"),
        pytest.param([*[unsure("a")] * 9, nothing()], [UNCERTAIN], id="uncertain does not become unknown"),
        pytest.param([named("a", 0.95, rival=0.8), nothing()], [UNKNOWN], id="a strong image with a rival close behind is not enough"),
        pytest.param([*[named("a"), *[nothing()] * 8] * 6], [UNKNOWN], id="rare mistakes never add up"),
        pytest.param([strong("a"), nothing()], [IDENTIFIED], id="identified stays after bad images"),
        pytest.param([strong("a"), unsure("b")], [IDENTIFIED], id="identified stays after weak images"),
        pytest.param([strong("a"), strong("b"), strong("a")], [IDENTIFIED], id="one contradiction is not agreement"),
    ],
)
def test_the_changes_that_follow_from_decisions(decisions, expected):
    table = Table()
    assert kinds(table.show(30.0, card_at(0), recognize=in_turn(*decisions))) == expected
    assert kinds(table.show(5.0)) == [REMOVED]


def test_a_change_has_the_best_decision_and_the_place_where_it_was_decided():
    table = Table(fps=10, latency_s=0.0)
    weaker, better = named("a", 0.65), named("a", 0.75)
    [change] = table.show(1.0, card_at(50), recognize=in_turn(better, weaker))
    assert change.decision is better
    assert change.quad == card_at(50).quad
    assert change.captured_ns == round(table.requested[1][0] * S)


def test_images_identified_as_different_cards_are_ambiguous():
    [change] = Table().show(2.0, card_at(0), recognize=in_turn(*[named("a"), named("b")] * 20))
    assert change.kind is UNCERTAIN
    assert change.decision.reason is RejectReason.AMBIGUOUS


def test_unknown_takes_time_not_frames():
    """At 60 frames per second the first second of a card is still its first second."""
    fast = Table(fps=60, latency_s=0.0)
    fast.show(0.9, card_at(0))
    assert fast.changes == []
    fast.show(0.5, card_at(0))
    assert kinds(fast.changes) == [UNKNOWN]


def test_a_card_is_not_requested_before_it_lies_still():
    table = Table(fps=30)
    for step in range(12):
        table.frame(card_at(30.0 * step), recognize=always(strong("a")))
    assert table.requested == []
    table.show(0.3, card_at(330), recognize=always(strong("a")))
    assert kinds(table.changes) == [IDENTIFIED]


def test_a_card_held_in_a_moving_hand_is_requested():
    table = Table(fps=30)
    for step in range(60):
        table.frame(card_at(25.0 * (step % 2)), recognize=always(strong("a")))
    assert kinds(table.changes) == [IDENTIFIED]


def test_a_blurred_card_is_requested_once_it_is_sharp():
    table = Table(fps=30, latency_s=0.0)
    table.frame(card_at(0, sharpness=100), recognize=always(strong("a")))
    table.show(0.2, card_at(0, sharpness=20), recognize=always(strong("a")))
    assert table.requested == []
    table.frame(card_at(0, sharpness=90), recognize=always(strong("a")))
    assert len(table.requested) == 1


@pytest.mark.parametrize("away_s", [0.1, 0.5, 1.0, 2.0])
def test_a_hand_passing_over_a_card_is_no_removal(away_s):
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    assert table.show(away_s) == []
    assert table.show(3.0, card_at(0), recognize=always(strong("a"))) == []


def test_a_hand_passing_again_and_again_is_no_removal():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    for _ in range(4):
        assert table.show(1.5) == []
        assert table.show(0.3, card_at(0), recognize=always(strong("a"))) == []


def test_a_card_taken_away_is_removed_once_with_its_last_decision():
    table = Table()
    [came] = table.show(1.0, card_at(0), recognize=always(strong("a")))
    [went] = table.show(10.0)
    assert (went.kind, went.track_id, went.decision) == (REMOVED, came.track_id, came.decision)


def test_an_outline_without_a_claim_is_forgotten_without_a_change():
    table = Table()
    assert table.show(0.2, card_at(0)) == []
    assert table.show(10.0) == []


def test_a_stalled_camera_removes_nothing():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.at_s += 60.0
    assert table.show(0.2) == []
    assert table.show(1.0, card_at(0), recognize=always(strong("a"))) == []


def test_a_jittering_outline_is_one_card():
    table = Table(fps=30)
    for step in range(300):
        jitter = (step * 7919 % 13) - 6
        table.frame(card_at(jitter, jitter / 2, turned=(0, 180)[step % 2]), recognize=always(strong("a")))
    assert kinds(table.changes) == [IDENTIFIED]


def test_two_cards_are_two_tracks_and_leave_one_by_one():
    table = Table()
    recognize = lambda located: strong("a" if located.quad.top_left.x < 100 else "b")  # noqa: E731
    assert sorted(groups(table.show(1.0, card_at(0), card_at(130), recognize=recognize))) == [(IDENTIFIED, "a"), (IDENTIFIED, "b")]
    assert groups(table.show(4.0, card_at(130), recognize=recognize)) == [(REMOVED, "a")]
    assert groups(table.show(4.0)) == [(REMOVED, "b")]


def test_a_card_laid_upon_another_replaces_it():
    """Same place, no gap: the regular re-checks notice within seconds."""
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    changes = table.show(7.0, card_at(0), recognize=always(strong("b")))
    assert groups(changes) == [(REMOVED, "a"), (IDENTIFIED, "b")]
    assert changes[0].track_id != changes[1].track_id


def test_a_card_swapped_by_hand_is_noticed_at_once():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.show(0.8)
    assert groups(table.show(0.6, card_at(20), recognize=always(strong("b")))) == [(REMOVED, "a"), (IDENTIFIED, "b")]


def test_a_known_card_back_under_glare_stays_identified():
    """It still resembles itself most, however little."""
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.show(0.8)
    assert table.show(10.0, card_at(20), recognize=always(nothing("a"))) == []


def test_images_from_before_a_disturbance_do_not_count_against_the_card():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    assert table.show(40.0, card_at(0), recognize=always(nothing("x"))) == []
    table.show(0.8)
    assert table.show(0.9, card_at(20), recognize=always(nothing("x"))) == []


def test_a_late_confirmation_from_before_a_disturbance_does_not_end_it():
    tracker = Tracker(map(str, count()).__next__)
    tracker.observe([card_at(0)], 0)
    [first] = tracker.observe([card_at(0)], S).requests
    tracker.conclude(first.track_id, strong("a"), card_at(0).quad, S)
    [recheck] = tracker.observe([card_at(0)], 7 * S).requests
    tracker.observe([], 8 * S)
    tracker.observe([card_at(0)], 9 * S)
    tracker.conclude(recheck.track_id, strong("a"), card_at(0).quad, 7 * S)
    assert [request.track_id for request in tracker.observe([card_at(0)], 9 * S + S // 5).requests] == [first.track_id]


def test_a_track_follows_the_outline_that_overlaps_it_most_and_no_other():
    tracker = Tracker(map(str, count()).__next__, TrackPolicy(evidence_interval_s=0.0))
    tracker.observe([card_at(0)], 0)
    tracker.observe([card_at(60), card_at(5)], S // 10)
    requests = tracker.observe([card_at(60), card_at(5)], 2 * S // 10).requests
    assert {request.track_id: request.located.quad.top_left.x for request in requests} == {"0": 5, "1": 60}


def test_a_still_scene_needs_few_requests():
    table = Table(fps=30)
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.requested.clear()
    table.show(60.0, card_at(0), recognize=always(strong("a")))
    assert 10 <= len(table.requested) <= 13


def test_unknown_cards_are_requested_at_a_moderate_rate():
    table = Table(fps=30)
    table.show(3.0, card_at(0))
    table.requested.clear()
    table.show(30.0, card_at(0))
    assert 25 <= len(table.requested) <= 31


def test_requests_are_bounded_and_every_card_gets_its_turn():
    policy = TrackPolicy(max_requests_per_frame=4)
    table = Table(tracker=Tracker(map(str, count()).__next__, policy))
    cards = [card_at(200.0 * (index % 5), 200.0 * (index // 5)) for index in range(20)]
    table.show(2.0, *cards, recognize=always(strong("a")))
    assert kinds(table.changes) == [IDENTIFIED] * 20
    frames = [at_s for at_s, _ in table.requested]
    assert max(frames.count(at_s) for at_s in frames) == 4


def test_requests_for_one_card_are_bounded_while_the_recognizer_is_slow():
    table = Table(fps=30, latency_s=1000.0)
    table.show(60.0, card_at(0))
    assert len(table.requested) == TrackPolicy().max_pending_per_track


def test_an_abandoned_request_is_repeated():
    tracker = Tracker(map(str, count()).__next__, TrackPolicy(max_pending_per_track=1))
    tracker.observe([card_at(0)], 0)
    [request] = tracker.observe([card_at(0)], S // 10).requests
    assert tracker.observe([card_at(0)], 2 * S).requests == ()
    tracker.abandon(request.track_id)
    tracker.abandon("no such track")
    assert [again.track_id for again in tracker.observe([card_at(0)], 3 * S).requests] == [request.track_id]


def test_reset_decisions_requests_every_card_at_the_next_frame_and_publishes_it_again():
    table = Table()
    table.show(1.0, card_at(0), card_at(300), recognize=always(strong("a")))
    table.requested.clear()
    table.changes.clear()
    assert table.tracker.reset_decisions() == 2
    table.frame(card_at(15), card_at(300, sharpness=1.0), recognize=always(strong("a")))
    assert len(table.requested) == 2
    assert kinds(table.show(1.0, card_at(15), card_at(300), recognize=always(strong("a")))) == [IDENTIFIED, IDENTIFIED]
    assert table.show(1.5) == []


def test_a_card_gone_right_after_reset_decisions_is_removed():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.tracker.reset_decisions()
    assert groups(table.show(4.0)) == [(REMOVED, "a")]


def test_a_forced_recheck_returns_only_changed_decisions():
    table = Table()
    recognize = lambda located: strong("a" if located.quad.top_left.x < 100 else "b")  # noqa: E731
    table.show(1.0, card_at(0), card_at(300), recognize=recognize)
    table.tracker.force_recheck()
    changes = table.show(
        4.0, card_at(0), card_at(300), recognize=lambda located: strong("a") if located.quad.top_left.x < 100 else nothing()
    )
    assert [(change.kind, change.decision) for change in changes] == [(REMOVED, strong("b")), (UNKNOWN, nothing())]


def test_no_card_is_requested_while_the_recognizer_has_no_capacity():
    tracker = Tracker(map(str, count()).__next__)
    tracker.observe([card_at(0)], 0)
    assert tracker.observe([card_at(0)], S, may_request=False).requests == ()
    assert len(tracker.observe([card_at(0)], 2 * S).requests) == 1


def test_a_late_decision_about_a_card_that_is_gone_is_ignored():
    table = Table(latency_s=20.0)
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    table.show(30.0)
    assert table.changes == []


def test_clearing_removes_the_published_cards():
    table = Table()
    table.show(1.0, card_at(0), recognize=always(strong("a")))
    assert kinds(table.tracker.clear(round(table.at_s * S))) == [REMOVED]
    assert table.tracker.clear(0) == ()


def test_time_running_backwards_counts_as_no_time():
    tracker = Tracker(map(str, count()).__next__)
    tracker.observe([card_at(0)], 100 * S)
    assert len(tracker.observe([card_at(0)], 50 * S).requests) == 1


# --- invariants -----------------------------------------------------------------------------------------------------------------

PLACES = (0.0, 40.0, 90.0, 300.0, 340.0, 700.0)
decisions = st.sampled_from([strong("a"), strong("b"), named("a"), named("b"), unsure("a"), unsure("b"), nothing("a"), nothing("x")])
scenes = st.lists(
    st.tuples(st.floats(0.03, 4.0), st.lists(st.sampled_from(PLACES), max_size=3, unique=True), decisions, st.floats(0.0, 0.5)), max_size=12
)


def play(script, fps: float) -> Table:
    table = Table(fps=fps)
    for seconds, places, decision, latency_s in script:
        table.latency_s = latency_s
        table.show(seconds, *(card_at(place) for place in places), recognize=always(decision))
    table.show(4.0)
    return table


@settings(max_examples=50, deadline=None)
@given(script=scenes, fps=st.sampled_from([2.0, 5.0, 15.0, 30.0]))
def test_every_track_changes_once_to_each_claim_and_is_removed_last(script, fps):
    kinds_by_track: dict = {}
    for change in play(script, fps).changes:
        kinds_by_track.setdefault(change.track_id, []).append(change.kind)
    strength = [UNKNOWN, UNCERTAIN, IDENTIFIED, REMOVED]
    for history in kinds_by_track.values():
        assert history == sorted(set(history), key=strength.index)
        assert history[-1] is REMOVED
        assert len(history) >= 2


@settings(max_examples=30, deadline=None)
@given(script=scenes)
def test_sightings_far_apart_never_share_a_track(script):
    table = play(script, 15.0)
    last: dict = {}
    for _, request in table.requested:
        quad = request.located.quad
        assert request.track_id not in last or abs(last[request.track_id] - quad.top_left.x) <= 126
        last[request.track_id] = quad.top_left.x


@settings(max_examples=25, deadline=None)
@given(
    decision=decisions,
    lying_s=st.floats(1.6, 8.0),
    away_s=st.one_of(st.just(0.0), st.floats(0.8, 2.0), st.floats(3.0, 5.0)),
    again=decisions,
)
def test_the_changes_do_not_depend_on_the_frame_rate(decision, lying_s, away_s, again):
    """A card comes, goes for a while, and a card comes back in its place.

    The times keep a frame's distance from the bounds of the policy: with a frame every 0.2 s, 0.3 s and 0.5 s cannot be distinguished.
    """

    def changes(fps):
        table = Table(fps=fps, latency_s=0.05)
        table.show(lying_s, card_at(0), recognize=always(decision))
        table.show(away_s)
        # long enough for a replaced card to be settled: re-check, doubt, new evidence
        table.show(12.0, card_at(0), recognize=always(again))
        return [(change.kind, change.track_id) for change in table.changes]

    assert changes(5.0) == changes(25.0)


def test_the_tracker_follows_its_policy():
    policy = TrackPolicy(removed_after_s=1.0, evidence=EvidencePolicy(settle_decisions=1, settle_s=0.0))
    table = Table(tracker=Tracker(map(str, count()).__next__, policy))
    assert kinds(table.show(0.3, card_at(0))) == [UNKNOWN]
    assert kinds(table.show(1.2)) == [REMOVED]


def test_cards_side_by_side_overlap_less_than_the_bound():
    """The matching relies on it: adjacent cards touch and do not overlap."""
    assert overlap(card_at(0).quad, card_at(126).quad) < TrackPolicy().min_overlap


def test_of_many_new_cards_a_few_are_recognized_per_frame_and_none_waits_for_the_second_image_of_another():
    table = Table()
    cards = [card_at(200.0 * (number % 8), 250.0 * (number // 8)) for number in range(40)]
    table.show(1.0, *cards)
    at, track_ids = [at_s for at_s, _ in table.requested], [request.track_id for _, request in table.requested]
    assert max(at.count(at_s) for at_s in at) == TrackPolicy().max_requests_per_frame
    assert len(set(track_ids[:40])) == 40


@pytest.mark.parametrize("decision", [strong("a"), unsure("a")])
def test_a_request_starts_at_the_corner_that_an_earlier_decision_found(decision):
    """The locator cannot tell which way up a card lies and begins at another corner in every frame; the decision says upside down."""
    tracker, upright, asked = Tracker(map("t{}".format, count()).__next__), card_at(0, turned=180).quad, []
    for number in range(180):
        at_ns = number * S // 15
        for request in tracker.observe([card_at(0, turned=180 * (number % 2))], at_ns).requests:
            asked.append(request.located)
            tracker.conclude(request.track_id, decision, upright, at_ns)
    known = [located for located in asked if located.order_confidence > 0.5]
    assert asked[0].order_confidence == 0.5
    assert len(known) >= 2
    assert {located.quad for located in known} == {upright}
    assert {located.rotations for located in known} == {(0, 180)}


def test_an_unknown_card_gives_no_hint_about_its_orientation():
    table = Table()
    table.show(4.0, card_at(0), recognize=lambda _: nothing())
    assert {request.located.order_confidence for _, request in table.requested} == {0.5}
