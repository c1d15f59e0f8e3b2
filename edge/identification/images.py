"""Identifies the cards in single images, for ``cardedge identify`` and the web page."""

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
    corners,
    rounded,
)
from edge.identification.expectation import ExpectationResult, Ground, MatchVerdict, card_agreement, check_expectation
from edge.recognition.collector_number import TextReader, needs_number, settle_printing
from edge.recognition.decision import Identified, Sighting, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band, regions_of
from edge.recognition.recognizer import LoadedGallery, Recognizer
from edge.vision.card import Locate, LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS

RECOGNITION_TIMEOUT_S: Final = 60.0
"""How long the recognition of one image may take."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentifyOptions:
    """How images are processed. Without ``locate`` each image is a scan of one card, upright or upside down.

    At most ``top_k`` candidates are listed per card. ``reader`` reads the collector number of each identified card whose printing is
    undecided, or of every identified card with ``read_always``. ``expected`` is the card that each image is compared with.
    """

    locate: Locate | None
    top_k: int
    reader: TextReader | None = None
    read_always: bool = False
    expected: CardId | None = None


def identify_images(paths: Iterable[Path], recognizer: Recognizer, options: IdentifyOptions) -> Iterator[ImageAnswer | ImageFailure]:
    """Yield the answer for each image in turn. Raises ``UsageError`` if the expected card is not in the index."""
    if options.expected is not None and options.expected not in recognizer.loaded.gallery.cards:
        raise UsageError(f"--expect {options.expected}: no such card in the index; find its id with `cardedge index search`")
    for path in paths:
        try:
            pixels = read_image(path)
        except ImageError as error:
            yield ImageFailure(image=str(path), error=str(error))
        else:
            yield identify_pixels(str(path), pixels, recognizer, options)


def identify_pixels(image: str, pixels: RgbImage, recognizer: Recognizer, options: IdentifyOptions) -> ImageAnswer:
    """Return the answer for one image, called ``image`` in the answer. Raises ``EmbedderError``."""
    start_s = perf_counter()
    located = options.locate(pixels) if options.locate else _whole_image(pixels)
    located_s = perf_counter()
    pending = recognizer.submit(pixels, [card for card in located if not card.is_back])
    sightings = pending.result(RECOGNITION_TIMEOUT_S)
    decided_s = perf_counter()
    gallery = pending.loaded.gallery
    sightings = tuple(_with_number(sighting, pixels, gallery, options) for sighting in sightings)
    ended_s = perf_counter()
    answer = ImageAnswer(
        image=image,
        width=pixels.shape[1],
        height=pixels.shape[0],
        timing_ms=StageTimes(
            locate=_ms(located_s - start_s),
            read=_ms(ended_s - decided_s),
            total=_ms(ended_s - start_s),
            **{stage: round(ms, 2) for stage, ms in pending.timing_ms.items()},
        ),
        cards=tuple(card_answer(sighting, gallery, options.top_k) for sighting in sightings),
        backs=tuple(corners(card.quad) for card in located if card.is_back),
    )
    if options.expected is None:
        return answer
    expected = _expected(pixels, sightings, pending.loaded, options.expected)
    return ComparedImageAnswer(**dict(answer), expected=expected)


def expected_answers(
    pixels: RgbImage, recognizer: Recognizer, options: IdentifyOptions, expected: Sequence[CardId]
) -> tuple[ExpectedAnswer, ...]:
    """Return whether an image shows each of the ``expected`` cards. Raises ``EmbedderError``."""
    located = options.locate(pixels) if options.locate else _whole_image(pixels)
    pending = recognizer.submit(pixels, located)
    sightings = pending.result(RECOGNITION_TIMEOUT_S)
    return tuple(_expected(pixels, sightings, pending.loaded, card_id) for card_id in expected)


def _whole_image(pixels: RgbImage) -> tuple[LocatedCard, ...]:
    return (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)


def _with_number(sighting: Sighting, pixels: RgbImage, gallery: Gallery, options: IdentifyOptions) -> Sighting:
    """Return the sighting, with its printing decided by the collector number if that is wanted and can be read."""
    decision = sighting.decision
    if options.reader is None or not isinstance(decision, Identified) or not needs_number(decision, always=options.read_always):
        return sighting
    band = number_band(pixels, sighting.quad, regions_of(gallery.cards[card_id] for card_id in decision.printings))
    if band is None:
        return sighting
    return replace(sighting, decision=settle_printing(decision, (options.reader.read_text(band),), gallery.cards))


def _expected(pixels: RgbImage, sightings: Sequence[Sighting], loaded: LoadedGallery, expected: CardId) -> ExpectedAnswer:
    """Return the answer about the best matching card: a match if there is one, else undecided, else a mismatch.

    An outline that holds no card comes last.
    """
    gallery = loaded.gallery
    results = [_check(pixels, sighting, loaded, expected) for sighting in sightings]
    best = min(range(len(results)), key=lambda card: _order(results[card]), default=None)
    result = None if best is None else results[best]
    decision = None if best is None else sightings[best].decision
    return ExpectedAnswer(
        card_id=expected,
        name=gallery.cards[expected].name,
        answer=result.verdict if result else MatchVerdict.CANNOT_SAY,
        ground=result.ground if result else Ground.NO_CARD_FOUND,
        card=best,
        agreement=rounded(result.agreement) if result else None,
        number_read=None if decision is None or isinstance(decision, Unknown) else decision.number_read,
        other=candidate_answers((result.other,), gallery)[0] if result and result.other else None,
    )


_ORDER: Final = (MatchVerdict.MATCH, MatchVerdict.CANNOT_SAY, MatchVerdict.MISMATCH)


def _order(result: ExpectationResult) -> tuple[bool, int, float]:
    return result.ground is Ground.NOT_A_CARD, _ORDER.index(result.verdict), -result.agreement


def _check(pixels: RgbImage, sighting: Sighting, loaded: LoadedGallery, expected: CardId) -> ExpectationResult:
    agreement = card_agreement(pixels, sighting.located, sighting.decision, loaded.gallery, expected, loaded.background)
    return check_expectation(sighting.decision, agreement, loaded.gallery, expected)


def exit_code(answer: ImageAnswer | ImageFailure) -> ExitCode:
    """Return the exit status of ``cardedge identify`` for one image."""
    if isinstance(answer, ImageFailure):
        return ExitCode.BAD_DATA
    if isinstance(answer, ComparedImageAnswer):
        return _EXIT_CODES[answer.expected.answer]
    return ExitCode.OK


_EXIT_CODES: Final = {
    MatchVerdict.MATCH: ExitCode.OK,
    MatchVerdict.MISMATCH: ExitCode.MISMATCH,
    MatchVerdict.CANNOT_SAY: ExitCode.CANNOT_SAY,
}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)
