"""The answer of ``cardedge identify`` for one image: as models, the contract of ``--json``, and as text."""

from math import atan2, degrees
from typing import Literal, assert_never

from edge.identification.expectation import Ground, MatchVerdict
from edge.recognition.decision import Candidate, Candidates, Identified, Sighting, Uncertain, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.schema import Schema
from edge.vision.card import Quad, Rotation

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


class CandidateAnswer(Schema):
    """A card that the image may show."""

    card_id: str
    name: str
    similarity: float
    verification: float


class CardAnswer(Schema):
    """One card found in an image; ``card_id`` and ``name`` are null unless it is identified.

    ``quad`` runs clockwise from the card's own top-left corner, in pixels; ``rotation`` is the clockwise rotation of the card in the
    image, to the nearest quarter turn. Similarity, margin and verification are those of the best candidate, null for an empty index.
    ``number_read`` is the collector number read by OCR, null if none was read.
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
    number_read: str | None = None


class StageTimes(Schema):
    """Wall-clock time of each stage in milliseconds; ``total`` is from pixels in memory to the decision."""

    locate: float
    embed: float
    search: float
    verify: float
    read: float = 0.0
    total: float


class ImageAnswer(Schema):
    """The cards in one image. ``backs`` are the outlines of cards that lie face down, as far as the locator tells them from faces."""

    image: str
    width: int
    height: int
    timing_ms: StageTimes
    cards: tuple[CardAnswer, ...]
    backs: tuple[Corners, ...] = ()


class ExpectedAnswer(Schema):
    """Whether an image shows the expected card, and the evidence.

    ``card`` is the index in ``cards`` of the best matching card, which the answer is about. ``ground`` is the reason for an answer other
    than a match. ``agreement`` in [0, 1] compares the pixels with those of the expected card; ``other`` is the best candidate of another
    artwork.
    """

    card_id: str
    name: str
    answer: MatchVerdict
    ground: Ground | None
    card: int | None
    agreement: float | None
    number_read: str | None
    other: CandidateAnswer | None


class ExpectedClassAnswer(Schema):
    """Whether an image shows a card of the claimed class: one whose ``column`` of the card list is ``value``.

    ``card`` and ``ground`` are as in ``ExpectedAnswer``. ``found`` are the values of the printings that remain possible, without repeats;
    empty if no card was identified.
    """

    column: str
    value: str
    answer: MatchVerdict
    ground: Ground | None
    card: int | None
    found: tuple[str, ...]


class ComparedImageAnswer(ImageAnswer):
    """The cards in one image, and whether it shows the expected card."""

    expected: ExpectedAnswer


class ClassifiedImageAnswer(ImageAnswer):
    """The cards in one image, and whether it shows a card of the claimed class."""

    expected_class: ExpectedClassAnswer


class ImageFailure(Schema):
    """Why an image could not be read."""

    image: str
    error: str


def answer_text(answer: ImageAnswer | ImageFailure) -> str:
    """Return an answer as lines of text."""
    if isinstance(answer, ImageFailure):
        return f"{answer.image}\n  ! {answer.error}"
    head = f"{answer.image}  {answer.width}x{answer.height}  {answer.timing_ms.total:.0f} ms"
    lines = [head, *(_card_text(card) for card in answer.cards)] if answer.cards or answer.backs else [head, "  no card found"]
    if answer.backs:
        lines.append(f"  {len(answer.backs)} face down")
    if isinstance(answer, ComparedImageAnswer):
        lines.append(_expected_text(answer.expected))
    if isinstance(answer, ClassifiedImageAnswer):
        lines.append(_expected_class_text(answer.expected_class))
    return "\n".join(lines)


def _expected_text(expected: ExpectedAnswer) -> str:
    ground = f" ({expected.ground.replace('_', ' ')})" if expected.ground else ""
    line = f"  {expected.answer.replace('_', ' ')}{ground}  expected {expected.card_id}  {expected.name}"
    if expected.agreement is not None:
        line += f"  agreement {expected.agreement:.2f}"
    if expected.other is not None:
        line += f"  best other {expected.other.card_id}  {expected.other.name} {expected.other.verification:.2f}"
    return line


def _expected_class_text(expected: ExpectedClassAnswer) -> str:
    ground = f" ({expected.ground.replace('_', ' ')})" if expected.ground else ""
    found = f"  found {', '.join(expected.found)}" if expected.found else ""
    return f"  {expected.answer.replace('_', ' ')}{ground}  expected {expected.column} {expected.value}{found}"


def nearest_rotation(quad: Quad) -> Rotation:
    """Return the clockwise rotation of a card in degrees, to the nearest quarter turn, from the direction of its top edge."""
    along_x = quad.top_right.x - quad.top_left.x + quad.bottom_right.x - quad.bottom_left.x
    along_y = quad.top_right.y - quad.top_left.y + quad.bottom_right.y - quad.bottom_left.y
    turns: tuple[Rotation, ...] = (0, 90, 180, 270)
    return turns[round(degrees(atan2(along_y, along_x)) / 90.0) % 4]


def card_answer(sighting: Sighting, gallery: Gallery, top_k: int) -> CardAnswer:
    """Return the answer about one card of an image, with at most ``top_k`` candidates."""
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
        quad=corners(sighting.quad),
        status=_STATUS[type(decision)],
        card_id=named.card_id if named else None,
        name=gallery.cards[named.card_id].name if named else None,
        similarity=rounded(best.similarity) if best else None,
        margin=rounded(decision.margin) if best else None,
        verification=rounded(best.verification) if best else None,
        rotation=nearest_rotation(sighting.quad),
        candidates=candidate_answers(decision.candidates[:top_k], gallery),
        printings=printings,
        reason=reason,
        number_read=None if isinstance(decision, Unknown) else decision.number_read,
    )


_STATUS: dict[type, Literal["identified", "uncertain", "unknown"]] = {Identified: "identified", Uncertain: "uncertain", Unknown: "unknown"}


def candidate_answers(candidates: Candidates, gallery: Gallery) -> tuple[CandidateAnswer, ...]:
    """Return candidates as answers, with the names of their cards."""
    return tuple(
        CandidateAnswer(
            card_id=candidate.card_id,
            name=gallery.cards[candidate.card_id].name,
            similarity=rounded(candidate.similarity),
            verification=rounded(candidate.verification),
        )
        for candidate in candidates
    )


def corners(quad: Quad) -> Corners:
    """Return the corners of an outline in order, rounded to a hundredth of a pixel."""
    first, second, third, fourth = ((round(x, 2), round(y, 2)) for x, y in quad.to_array().tolist())
    return first, second, third, fourth


def rounded(value: float) -> float:
    """Return a cosine or a verification rounded to four decimals."""
    return round(value, 4)


def _card_text(card: CardAnswer) -> str:
    best = card.candidates[0] if card.candidates else None
    what = (
        f"{card.card_id}  {card.name}"
        if card.card_id
        else (f"({card.reason})" + (f"  nearest {best.card_id}  {best.name}" if best else ""))
    )
    line = f"  {card.status:<10}  {what}"
    if best:
        line += (
            f"  similarity {card.similarity:.2f}  margin {card.margin:.2f}  verification {card.verification:.2f}  rotated {card.rotation}"
        )
    if card.number_read:
        line += f"  number {card.number_read}"
    others = [printing for printing in card.printings if printing != card.card_id]
    return line + (f"\n              same artwork: {', '.join(others)}" if others else "")
