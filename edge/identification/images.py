"""Identifies the cards in single images, for ``cardedge identify`` and the web page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Final

from edge.errors import ExitCode, ImageError, UsageError
from edge.identification.answer import (
    ClassifiedImageAnswer,
    ComparedImageAnswer,
    ExpectedAnswer,
    ExpectedClassAnswer,
    ImageAnswer,
    ImageFailure,
    StageTimes,
    candidate_answers,
    card_answer,
    corners,
    rounded,
)
from edge.identification.card_class import CardClass, check_class
from edge.identification.expectation import (
    MISMATCH_AGREEMENT,
    ExpectationResult,
    Ground,
    MatchVerdict,
    card_agreement,
    check_absence,
    check_expectation,
)
from edge.recognition.collector_number import TextReader, needs_number, settle_printing
from edge.recognition.decision import Identified, Sighting, Unknown
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band, regions_of
from edge.recognition.recognizer import LoadedGallery, Recognizer
from edge.vision.card import Locate, LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS, LocateSettings, fitted_outlines, sharpness_and_pattern
from edge.vision.reference_search import Features, card_features, find_card

RECOGNITION_TIMEOUT_S: Final = 60.0
"""How long the recognition of one image may take."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentifyOptions:
    """How images are processed. Without ``locate`` each image is a scan of one card, upright or upside down.

    At most ``top_k`` candidates are listed per card. ``reader`` reads the collector number of each identified card whose printing is
    undecided, or of every identified card with ``read_always``. ``expected`` is the card or the class that each image is compared with.
    ``reference_image`` returns the reference image of a card; with it an expected card is looked for where nothing was located, too.
    """

    locate: Locate | None
    top_k: int
    reader: TextReader | None = None
    read_always: bool = False
    expected: CardId | CardClass | None = None
    reference_image: Callable[[CardId], RgbImage] | None = None


def identify_images(paths: Iterable[Path], recognizer: Recognizer, options: IdentifyOptions) -> Iterator[ImageAnswer | ImageFailure]:
    """Yield the answer for each image in turn."""
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
    absent = False
    if options.expected is not None and not isinstance(options.expected, CardClass):
        sightings, absent = _search(pixels, Features.of(pixels), sightings, recognizer, options, options.expected)
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
    if isinstance(options.expected, CardClass):
        return ClassifiedImageAnswer(**dict(answer), expected_class=_expected_class(sightings, gallery, options.expected))
    expected = _expected(pixels, sightings, pending.loaded, options.expected, absent=absent)
    return ComparedImageAnswer(**dict(answer), expected=expected)


def expected_card(text: str, gallery: Gallery) -> CardId:
    """Return the id of the card that ``--expect`` names. Raises ``UsageError`` if it is not in the gallery."""
    if text not in gallery.cards:
        raise UsageError(f"--expect {text}: no such card in the index; find its id with `cardedge index search`")
    return CardId(text)


def expected_answers(
    pixels: RgbImage, recognizer: Recognizer, options: IdentifyOptions, expected: Sequence[CardId]
) -> tuple[ExpectedAnswer, ...]:
    """Return whether an image shows each of the ``expected`` cards. Raises ``EmbedderError``."""
    located = options.locate(pixels) if options.locate else _whole_image(pixels)
    pending = recognizer.submit(pixels, [card for card in located if not card.is_back])
    sightings = pending.result(RECOGNITION_TIMEOUT_S)
    photo = Features.of(pixels)
    answers = []
    for card_id in expected:
        found, absent = _search(pixels, photo, sightings, recognizer, options, card_id)
        answers.append(_expected(pixels, found, pending.loaded, card_id, absent=absent))
    return tuple(answers)


def _search(
    pixels: RgbImage,
    photo: Features,
    sightings: tuple[Sighting, ...],
    recognizer: Recognizer,
    options: IdentifyOptions,
    expected: CardId,
) -> tuple[tuple[Sighting, ...], bool]:
    """Look for the expected card where nothing was located, too.

    Returns the sightings, with one more if the card was found, and whether it is absent: looked for in the whole photo and not found.
    """
    identified = (sighting.decision.printings for sighting in sightings if isinstance(sighting.decision, Identified))
    if options.locate is None or options.reference_image is None or any(expected in printings for printings in identified):
        return sightings, False
    card = card_features(options.reference_image(expected))
    if not card.suffice or not photo.suffice:
        return sightings, False
    quad = find_card(photo, card)
    if quad is None:
        return sightings, True
    sharp, _ = sharpness_and_pattern(pixels, quad)
    located = LocatedCard(quad, (0,), sharp)
    loaded = recognizer.loaded
    [sighting] = recognizer.recognize(pixels, [located], RECOGNITION_TIMEOUT_S)
    agreement = card_agreement(pixels, located, sighting.decision, loaded.gallery, expected, loaded.background)
    if agreement < MISMATCH_AGREEMENT:  # the features are those of a frame that the cards of a game share
        return sightings, True
    return (*sightings, _with_number(sighting, pixels, loaded.gallery, options)), False


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


def _expected(pixels: RgbImage, sightings: Sequence[Sighting], loaded: LoadedGallery, expected: CardId, *, absent: bool) -> ExpectedAnswer:
    """Return the answer about the best matching card: a match if there is one, else undecided, else a mismatch.

    An outline that holds no card comes last. If the card is ``absent`` from the photo, an outline that would leave it undecided is a
    mismatch.
    """
    gallery = loaded.gallery
    results = [_check(pixels, sighting, loaded, expected) for sighting in sightings]
    if absent:
        results = [check_absence(result, sightings[card].decision, gallery, expected) for card, result in enumerate(results)]
    best = min(
        range(len(results)), key=lambda card: (*_rank(results[card].verdict, results[card].ground), -results[card].agreement), default=None
    )
    result = None if best is None else results[best]
    decision = None if best is None else sightings[best].decision
    verdict, ground = (result.verdict, result.ground) if result else _without_outline(pixels, absent=absent)
    return ExpectedAnswer(
        card_id=expected,
        name=gallery.cards[expected].name,
        answer=verdict,
        ground=ground,
        card=best,
        agreement=rounded(result.agreement) if result else None,
        number_read=None if decision is None or isinstance(decision, Unknown) else decision.number_read,
        other=candidate_answers((result.other,), gallery)[0] if result and result.other else None,
    )


def _without_outline(pixels: RgbImage, *, absent: bool) -> tuple[MatchVerdict, Ground]:
    """Return the verdict about a photo in which no card was located; a mismatch needs an outline that may be one."""
    if absent and len(fitted_outlines(pixels, LocateSettings()).quads):
        return MatchVerdict.MISMATCH, Ground.NOT_FOUND
    return MatchVerdict.CANNOT_SAY, Ground.NO_CARD_FOUND


def _expected_class(sightings: Sequence[Sighting], gallery: Gallery, card_class: CardClass) -> ExpectedClassAnswer:
    """Return the answer about the card that fits the class best, as ``_expected`` does."""
    verdicts = [check_class(sighting.decision, gallery, card_class) for sighting in sightings]
    best = min(range(len(verdicts)), key=lambda card: _rank(*verdicts[card]), default=None)
    verdict, ground = (MatchVerdict.CANNOT_SAY, Ground.NO_CARD_FOUND) if best is None else verdicts[best]
    decision = None if best is None else sightings[best].decision
    printings = decision.printings if isinstance(decision, Identified) else ()
    found = dict.fromkeys(value for card_id in printings if (value := card_class.value_of(gallery.cards[card_id])))
    return ExpectedClassAnswer(
        column=card_class.column, value=card_class.value, answer=verdict, ground=ground, card=best, found=tuple(found)
    )


_ORDER: Final = (MatchVerdict.MATCH, MatchVerdict.CANNOT_SAY, MatchVerdict.MISMATCH)


def _rank(verdict: MatchVerdict, ground: Ground | None) -> tuple[bool, int]:
    return ground is Ground.NOT_A_CARD, _ORDER.index(verdict)


def _check(pixels: RgbImage, sighting: Sighting, loaded: LoadedGallery, expected: CardId) -> ExpectationResult:
    agreement = card_agreement(pixels, sighting.located, sighting.decision, loaded.gallery, expected, loaded.background)
    return check_expectation(sighting.decision, agreement, loaded.gallery, expected)


def exit_code(answer: ImageAnswer | ImageFailure) -> ExitCode:
    """Return the exit status of ``cardedge identify`` for one image."""
    if isinstance(answer, ImageFailure):
        return ExitCode.BAD_DATA
    if isinstance(answer, ComparedImageAnswer):
        return _EXIT_CODES[answer.expected.answer]
    if isinstance(answer, ClassifiedImageAnswer):
        return _EXIT_CODES[answer.expected_class.answer]
    return ExitCode.OK


_EXIT_CODES: Final = {
    MatchVerdict.MATCH: ExitCode.OK,
    MatchVerdict.MISMATCH: ExitCode.MISMATCH,
    MatchVerdict.CANNOT_SAY: ExitCode.CANNOT_SAY,
}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)
