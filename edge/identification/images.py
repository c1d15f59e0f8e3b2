"""``cardedge identify``: which cards these pictures show, and whether that is the expected one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from edge.errors import ExitCode, ImageError, UsageError
from edge.identification.answer import (
    ComparedImageAnswer,
    ExpectedAnswer,
    ImageAnswer,
    ImageFailure,
    StageTimes,
    candidate_answers,
    card_answer,
    rounded,
)
from edge.identification.expectation import ExpectationResult, Ground, Verdict, agreement_with, judge
from edge.recognition.collector_number import TextReader, needs_number, number_band, settle_printing
from edge.recognition.decision import Identified, Sighting, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.vision.card import LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS, LocateSettings, locate_cards

NETWORK_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class IdentifyOptions:
    """How pictures are looked at. Without ``locate`` each picture *is* one card, edge to edge, either way up.

    At most ``top_k`` candidates are listed per card. ``reader`` reads the collector numbers of cards whose printing is open, with
    ``read_always`` of every named card. ``expected`` is the card every picture is compared with.
    """

    locate: LocateSettings | None
    top_k: int
    reader: TextReader | None = None
    read_always: bool = False
    expected: CardId | None = None


def identify_images(paths: Iterable[Path], recognizer: Recognizer, request: IdentifyOptions) -> Iterator[ImageAnswer | ImageFailure]:
    """Answer for each picture in turn. Raises ``UsageError`` for an expected card that is not in the index."""
    if request.expected is not None and request.expected not in recognizer.loaded.gallery.cards:
        raise UsageError(f"--expect {request.expected}: no such card in the index; find its id with `cardedge index search`")
    for path in paths:
        try:
            pixels = read_image(path)
        except ImageError as error:
            yield ImageFailure(image=str(path), error=str(error))
        else:
            yield identify_pixels(str(path), pixels, recognizer, request)


def identify_pixels(image: str, pixels: RgbImage, recognizer: Recognizer, request: IdentifyOptions) -> ImageAnswer:
    """Answer for one picture, named ``image`` in the answer. Raises ``EmbedderError``."""
    began_s = perf_counter()
    located = locate_cards(pixels, request.locate) if request.locate else _one_card(pixels)
    located_s = perf_counter()
    pending = recognizer.submit(pixels, located)
    sightings = pending.result(NETWORK_TIMEOUT_S)
    decided_s = perf_counter()
    gallery = pending.loaded.gallery
    sightings = tuple(_with_number(sighting, pixels, gallery, request) for sighting in sightings)
    ended_s = perf_counter()
    answer = ImageAnswer(
        image=image,
        width=pixels.shape[1],
        height=pixels.shape[0],
        timing_ms=StageTimes(
            locate=_ms(located_s - began_s),
            read=_ms(ended_s - decided_s),
            total=_ms(ended_s - began_s),
            **{stage: round(ms, 2) for stage, ms in pending.timing_ms.items()},
        ),
        cards=tuple(card_answer(sighting, gallery, request.top_k) for sighting in sightings),
    )
    if request.expected is None:
        return answer
    expected = _expected(pixels, sightings, gallery, request.expected)
    return ComparedImageAnswer(**dict(answer), expected=expected)


def _one_card(pixels: RgbImage) -> tuple[LocatedCard, ...]:
    return (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)


def _with_number(sighting: Sighting, pixels: RgbImage, gallery: Gallery, request: IdentifyOptions) -> Sighting:
    """Return the sighting with its printing settled, as far as its collector number can be read."""
    decision = sighting.decision
    if request.reader is None or not isinstance(decision, Identified) or not needs_number(decision, always=request.read_always):
        return sighting
    band = number_band(pixels, sighting.quad)
    if band is None:
        return sighting
    return replace(sighting, decision=settle_printing(decision, request.reader.read_text(band), gallery.cards))


def _expected(pixels: RgbImage, sightings: Sequence[Sighting], gallery: Gallery, expected: CardId) -> ExpectedAnswer:
    """Return the answer of the card that answers best: a match before what cannot be said, that before a mismatch."""
    found = [_finding(pixels, sighting, gallery, expected) for sighting in sightings]
    place = min(range(len(found)), key=lambda card: (_ORDER[found[card].verdict], -found[card].agreement.value), default=None)
    finding = None if place is None else found[place]
    decision = None if place is None else sightings[place].decision
    return ExpectedAnswer(
        card_id=expected,
        name=gallery.cards[expected].name,
        answer=finding.verdict if finding else Verdict.CANNOT_SAY,
        ground=finding.ground if finding else Ground.NO_CARD_FOUND,
        card=place,
        agreement=rounded(finding.agreement.value) if finding else None,
        number_read=None if decision is None or isinstance(decision, Unknown) else decision.number_read,
        other=candidate_answers((finding.other,), gallery)[0] if finding and finding.other else None,
    )


_ORDER: Final = {Verdict.MATCH: 0, Verdict.CANNOT_SAY: 1, Verdict.MISMATCH: 2}


def _finding(pixels: RgbImage, sighting: Sighting, gallery: Gallery, expected: CardId) -> ExpectationResult:
    agreement = agreement_with(pixels, sighting.located, sighting.decision, gallery, expected)
    return judge(sighting.decision, agreement, gallery, expected)


def exit_code(answer: ImageAnswer | ImageFailure) -> ExitCode:
    """Return what one answer makes of the command's exit status."""
    if isinstance(answer, ImageFailure):
        return ExitCode.BAD_DATA
    if isinstance(answer, ComparedImageAnswer):
        return _EXIT_CODES[answer.expected.answer]
    return ExitCode.OK


_EXIT_CODES: Final = {Verdict.MATCH: ExitCode.OK, Verdict.MISMATCH: ExitCode.MISMATCH, Verdict.CANNOT_SAY: ExitCode.CANNOT_SAY}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)
