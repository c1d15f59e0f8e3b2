"""The script of the demo video: when each card or object appears, from which side, in which pose, and when a hand passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from edge.errors import DataError
from edge.vision.card import CARD_HEIGHT_MM, Point, Quad, Size
from edge.vision.frame import RgbImage
from tools.demo_video.tally import Corners, TrueAppearance, TruePosition, Truth
from tools.simulation.camera import CardPose, pose_quad

Kind: TypeAlias = Literal["card", "unknown-card", "object"]

FRAME_SIZE: Final = Size(1280, 720)
FPS: Final = 15.0
SECONDS: Final = 30.0
MIN_SECONDS: Final = 24.0
"""In a shorter video the cards would hardly come to rest."""

PX_PER_MM: Final = 3.3
TABLE_TILT_DEG: Final = 7.0
"""The optical axis of the camera is tilted against the vertical."""

ARRIVING_S: Final = 0.7
LEAVING_S: Final = 0.6
HAND_S: Final = 0.45
"""Duration of the hand's approach or withdrawal while the card is at rest."""

AWAY_PX: Final = 900.0
"""Distance over which an appearance slides in: out of view from every position on the table."""

OBJECT_SIZES_MM: Final = {"mug": (110.0, 92.0), "dice": (58.0, 26.0)}


@dataclass(frozen=True, slots=True, eq=False)
class VideoCard:
    """A card to show; ``image`` is upright, edge to edge, RGB uint8 of any size."""

    card_id: str
    name: str
    image: RgbImage
    artwork_group: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """A card or an object that slides in, rests in ``pose`` and slides out. ``card`` is None for an object.

    ``from_deg`` is the direction it comes from and leaves to (0: right, 90: bottom); ``has_hand``: a hand moves it; ``glare_level``: peak
    of the lamp's reflection on the card, in gray levels; ``is_sleeved``: it is in a plastic sleeve.
    """

    kind: Kind
    name: str
    card: VideoCard | None
    from_s: float
    to_s: float
    pose: CardPose
    from_deg: float
    has_hand: bool = True
    glare_level: float = 90.0
    is_sleeved: bool = False

    @property
    def rests_from_s(self) -> float:
        """Time at which it comes to rest, in seconds."""
        return self.from_s + ARRIVING_S

    @property
    def rests_to_s(self) -> float:
        """Time at which it begins to leave, in seconds."""
        return self.to_s - LEAVING_S


@dataclass(frozen=True, slots=True)
class HandPass:
    """A hand that sweeps over the table, its fingertips from ``start`` to ``end`` (pixels) and back."""

    from_s: float
    to_s: float
    start: Point
    end: Point


@dataclass(frozen=True, slots=True, eq=False)
class DemoScript:
    """A complete script. ``seed`` determines the table, the noise and the light."""

    seed: int
    size: Size
    fps: float
    seconds: float
    appearances: tuple[Appearance, ...]
    passes: tuple[HandPass, ...]


def demo_script(cards: Sequence[VideoCard], unknown_cards: Sequence[VideoCard], seed: int, seconds: float = SECONDS) -> DemoScript:
    """Return the script of the demo: six of ``cards`` with different artworks, one of ``unknown_cards``, a mug and dice.

    Raises ``DataError`` if there are too few cards or ``seconds`` is too short.
    """
    chosen = _different(cards, np.random.default_rng([seed, 1]), 6)
    if not unknown_cards:
        raise DataError("the video needs a card that is not in the index; name one")
    if seconds < MIN_SECONDS:
        raise DataError(f"{seconds:g} s is too short for the video; use at least {MIN_SECONDS:g}")

    def card(number: int, from_s: float, to_s: float, pose: CardPose, from_deg: float) -> Appearance:
        return Appearance("card", chosen[number].name, chosen[number], from_s, to_s, pose, from_deg)

    unknown = unknown_cards[seed % len(unknown_cards)]
    appearances = (
        card(0, 1.0, 5.4, _pose(430, 350, roll_deg=3), 84),
        Appearance("object", "dice", None, 3.0, 24.4, _pose(1120, 120, roll_deg=12), -20, has_hand=False),
        card(1, 5.7, 10.3, _pose(760, 340, roll_deg=38), 58),
        replace(card(2, 10.6, 16.2, _pose(380, 372, roll_deg=-9), 100), is_sleeved=True),
        card(3, 11.9, 17.2, _pose(830, 345, roll_deg=14), 66),
        Appearance("unknown-card", unknown.name, unknown, 17.5, 21.4, _pose(612, 352, roll_deg=-16), 95),
        Appearance("object", "mug", None, 18.9, 25.0, _pose(1010, 420, roll_deg=20), 62),
        card(4, 21.6, 25.6, _pose(480, 345, roll_deg=186), 92),
        replace(card(5, 25.7, 29.4, _pose(690, 350, roll_deg=-6, tilt_deg=34, tilt_axis_deg=25), 80), glare_level=150.0),
    )
    passes = (HandPass(7.7, 9.3, Point(1250, 700), Point(560, 330)),)
    pace = seconds / SECONDS
    return DemoScript(
        seed=seed,
        size=FRAME_SIZE,
        fps=FPS,
        seconds=seconds,
        appearances=tuple(replace(appearance, from_s=appearance.from_s * pace, to_s=appearance.to_s * pace) for appearance in appearances),
        passes=tuple(replace(sweep, from_s=sweep.from_s * pace, to_s=sweep.to_s * pace) for sweep in passes),
    )


def pose_at(appearance: Appearance, at_s: float) -> CardPose:
    """Return the pose of an appearance at ``at_s``, between its ``from_s`` and ``to_s``."""
    arriving = _ease((appearance.rests_from_s - at_s) / ARRIVING_S)
    leaving = _ease((at_s - appearance.rests_to_s) / LEAVING_S)
    away, turn = AWAY_PX * max(arriving, leaving), np.radians(appearance.from_deg)
    pose = appearance.pose
    return replace(
        pose,
        center_x_px=pose.center_x_px + away * float(np.cos(turn)),
        center_y_px=pose.center_y_px + away * float(np.sin(turn)),
        roll_deg=pose.roll_deg + 14.0 * arriving - 9.0 * leaving,
    )


def hand_away(appearance: Appearance, at_s: float) -> float | None:
    """Return the distance of the moving hand from the card, 0 (holding it) to 1 (out of view); None if there is no hand."""
    if not appearance.has_hand or not appearance.from_s <= at_s <= appearance.to_s:
        return None
    gone = max(0.0, min((at_s - appearance.rests_from_s) / HAND_S, (appearance.rests_to_s - at_s) / HAND_S))
    return _ease(gone) if gone < 1.0 else None


def outline(appearance: Appearance, pose: CardPose) -> Quad:
    """Return the outline of a card, or of a box around an object, in ``pose``."""
    if appearance.card is not None:
        return pose_quad(pose)
    turn = np.radians(pose.roll_deg)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    half = np.array(OBJECT_SIZES_MM[appearance.name]) / 2.0 * pose.px_per_mm
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ axes + (pose.center_x_px, pose.center_y_px)
    return Quad.from_array(corners)


def truth(script: DemoScript, every_s: float = 0.2) -> Truth:
    """Return the ground truth of the video, with outlines at key frames ``every_s`` seconds apart."""
    return Truth(
        width=script.size.width,
        height=script.size.height,
        fps=script.fps,
        seconds=script.seconds,
        appearances=tuple(_true(appearance, every_s) for appearance in script.appearances),
    )


def _true(appearance: Appearance, every_s: float) -> TrueAppearance:
    moments = [*np.arange(appearance.from_s, appearance.to_s, every_s).tolist(), appearance.to_s]
    return TrueAppearance(
        kind=appearance.kind,
        card_id=appearance.card.card_id if appearance.card is not None and appearance.kind == "card" else None,
        name=appearance.name,
        from_s=round(appearance.from_s, 3),
        rests_from_s=round(appearance.rests_from_s, 3),
        rests_to_s=round(appearance.rests_to_s, 3),
        to_s=round(appearance.to_s, 3),
        quad=_corners(outline(appearance, appearance.pose)),
        path=tuple(TruePosition(at_s=round(at_s, 3), quad=_corners(outline(appearance, pose_at(appearance, at_s)))) for at_s in moments),
    )


def _corners(quad: Quad) -> Corners:
    first, second, third, fourth = (
        (round(point.x, 2), round(point.y, 2)) for point in (quad.top_left, quad.top_right, quad.bottom_right, quad.bottom_left)
    )
    return first, second, third, fourth


def _pose(x: float, y: float, *, roll_deg: float, tilt_deg: float = TABLE_TILT_DEG, tilt_axis_deg: float = 0.0) -> CardPose:
    return CardPose(
        x, y, PX_PER_MM, roll_deg=roll_deg, tilt_deg=tilt_deg, tilt_axis_deg=tilt_axis_deg, distance_cards=600.0 / CARD_HEIGHT_MM
    )


def _ease(share: float) -> float:
    """Return the smoothstep of ``share``, 0..1."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def _different(cards: Sequence[VideoCard], rng: np.random.Generator, count: int) -> list[VideoCard]:
    """Return ``count`` cards with different artworks, in random order. Raises ``DataError`` if there are too few."""
    chosen: dict[str, VideoCard] = {}
    for place in rng.permutation(len(cards)).tolist():
        card = cards[place]
        chosen.setdefault(card.artwork_group or card.card_id, card)
    if len(chosen) < count:
        raise DataError(f"the video needs {count} cards with different artworks, but there are only {len(chosen)}; draw more cards")
    return list(chosen.values())[:count]
