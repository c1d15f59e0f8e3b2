"""``cardedge identify``: which cards do these pictures show? The models below are the contract of ``--json``."""

from collections.abc import Iterable, Iterator
from math import atan2, degrees
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, assert_never

from edge.card import LocatedCard, Quad, Rotation, whole_image_quad
from edge.decision import Candidate, Candidates, Identified, Sighting, Uncertain, Unknown
from edge.errors import ImageError
from edge.frame import RgbImage
from edge.gallery import Gallery
from edge.image_file import read_image
from edge.locate import BOTH_WAYS, LocateSettings, locate_cards
from edge.neighbors import CardId
from edge.pipeline import Recognizer
from edge.schema import Schema

NETWORK_TIMEOUT_S: Final = 60.0

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


class CandidateAnswer(Schema):
    """A card the picture may show."""

    card_id: str
    name: str
    similarity: float
    verification: float


class CardAnswer(Schema):
    """One card found in a picture; ``card_id`` and ``name`` are null unless it is identified.

    ``quad`` runs clockwise from the card's own top-left corner, in pixels; ``rotation`` is how far the card is turned clockwise in the
    picture, to the nearest quarter. Similarity, margin and verification are those of the best candidate, null for an empty index.
    """

    quad: Corners
    status: Literal["identified", "uncertain", "unknown"]
    card_id: str | None
    name: str | None
    similarity: float | None
    margin: float | None
    verification: float | None
    rotation: Rotation
    candidates: tuple[CandidateAnswer, ...]
    printings: tuple[str, ...]
    reason: str | None


class StageTimes(Schema):
    """Wall-clock milliseconds of each stage; ``total`` is from pixels in memory to the decision."""

    locate: float
    embed: float
    search: float
    verify: float
    total: float


class ImageAnswer(Schema):
    """What one picture shows."""

    image: str
    width: int
    height: int
    timing_ms: StageTimes
    cards: tuple[CardAnswer, ...]


class ImageFailure(Schema):
    """Why one picture could not be read."""

    image: str
    error: str


def identify_images(
    paths: Iterable[Path], recognizer: Recognizer, locate: LocateSettings, *, rectified: bool, top_k: int
) -> Iterator[ImageAnswer | ImageFailure]:
    """Answer for each picture in turn. ``rectified``: each picture *is* one card, either way up. At most ``top_k`` candidates per card."""
    for path in paths:
        try:
            pixels = read_image(path)
        except ImageError as error:
            yield ImageFailure(image=str(path), error=str(error))
        else:
            yield _identify(path, pixels, recognizer, None if rectified else locate, top_k)


def _identify(path: Path, pixels: RgbImage, recognizer: Recognizer, locate: LocateSettings | None, top_k: int) -> ImageAnswer:
    """Answer for one picture; without ``locate`` it is one card, edge to edge."""
    began_s = perf_counter()
    located = locate_cards(pixels, locate) if locate else (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)
    located_s = perf_counter()
    pending = recognizer.submit(pixels, located)
    sightings = pending.result(NETWORK_TIMEOUT_S)
    ended_s = perf_counter()
    gallery = pending.loaded.gallery
    return ImageAnswer(
        image=str(path),
        width=pixels.shape[1],
        height=pixels.shape[0],
        timing_ms=StageTimes(
            locate=_ms(located_s - began_s),
            total=_ms(ended_s - began_s),
            **{stage: round(ms, 2) for stage, ms in pending.timing_ms.items()},
        ),
        cards=tuple(card_answer(sighting, gallery, top_k) for sighting in sightings),
    )


def describe(answer: ImageAnswer | ImageFailure) -> str:
    """Say an answer in a few lines for a person."""
    if isinstance(answer, ImageFailure):
        return f"{answer.image}\n  ! {answer.error}"
    head = f"{answer.image}  {answer.width}x{answer.height}  {answer.timing_ms.total:.0f} ms"
    return "\n".join([head, *(_describe_card(card) for card in answer.cards)] if answer.cards else [head, "  no card found"])


def quarter_turns(quad: Quad) -> Rotation:
    """Return how far a card is turned clockwise in the picture, to the nearest quarter: the direction of its top edge."""
    along_x = quad.top_right.x - quad.top_left.x + quad.bottom_right.x - quad.bottom_left.x
    along_y = quad.top_right.y - quad.top_left.y + quad.bottom_right.y - quad.bottom_left.y
    turns: tuple[Rotation, ...] = (0, 90, 180, 270)
    return turns[round(degrees(atan2(along_y, along_x)) / 90.0) % 4]


def card_answer(sighting: Sighting, gallery: Gallery, top_k: int) -> CardAnswer:
    """Return what is published about one card of a picture."""
    decision = sighting.decision
    best = decision.candidates[0] if decision.candidates else None
    named: Candidate | None = None
    printings: tuple[CardId, ...] = ()
    reason: str | None = None
    match decision:
        case Identified():
            named, printings = decision.best, decision.printings
        case Uncertain():
            printings, reason = decision.printings, decision.reason
        case Unknown():
            reason = decision.reason
        case _:
            assert_never(decision)
    return CardAnswer(
        quad=_corners(sighting.quad),
        status=_STATUS[type(decision)],
        card_id=named.card_id if named else None,
        name=gallery.cards[named.card_id].name if named else None,
        similarity=_rounded(best.similarity) if best else None,
        margin=_rounded(decision.margin) if best else None,
        verification=_rounded(best.verification) if best else None,
        rotation=quarter_turns(sighting.quad),
        candidates=_candidates(decision.candidates[:top_k], gallery),
        printings=printings,
        reason=reason,
    )


_STATUS: dict[type, Literal["identified", "uncertain", "unknown"]] = {Identified: "identified", Uncertain: "uncertain", Unknown: "unknown"}


def _candidates(candidates: Candidates, gallery: Gallery) -> tuple[CandidateAnswer, ...]:
    return tuple(
        CandidateAnswer(
            card_id=candidate.card_id,
            name=gallery.cards[candidate.card_id].name,
            similarity=_rounded(candidate.similarity),
            verification=_rounded(candidate.verification),
        )
        for candidate in candidates
    )


def _corners(quad: Quad) -> Corners:
    first, second, third, fourth = ((round(x, 2), round(y, 2)) for x, y in quad.to_array().tolist())
    return first, second, third, fourth


def _rounded(value: float) -> float:
    """Four digits say all a cosine or a verification can tell, and keep the lines readable."""
    return round(value, 4)


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


def _describe_card(card: CardAnswer) -> str:
    best = card.candidates[0] if card.candidates else None
    what = (
        f"{card.card_id}  {card.name}"
        if card.card_id
        else (f"({card.reason})" + (f"  nearest {best.card_id}  {best.name}" if best else ""))
    )
    line = f"  {card.status:<10}  {what}"
    if best:
        line += (
            f"  similarity {card.similarity:.2f}  margin {card.margin:.2f}  verification {card.verification:.2f}  turned {card.rotation}"
        )
    others = [printing for printing in card.printings if printing != card.card_id]
    return line + (f"\n              same artwork: {', '.join(others)}" if others else "")
