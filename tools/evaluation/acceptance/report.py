"""The acceptance as one HTML page with its tables, charts and images of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Final

from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from tools.evaluation.acceptance.charts import risk_coverage_chart, stage_chart
from tools.evaluation.acceptance.failures import KINDS, Failure
from tools.evaluation.acceptance.measurement import Acceptance
from tools.evaluation.acceptance.plan import System
from tools.evaluation.acceptance.tables import (
    CRITERIA_HEAD,
    STAGES_HEAD,
    VIEWS_HEAD,
    coverage_text,
    criteria_cells,
    heading,
    stage_rows,
    view_cells,
)
from tools.evaluation.queries import Dataset
from tools.reports.html_page import labeled_image, page, table, write_page

PAGE: Final = "index.html"


def write_report(folder: Path, acceptance: Acceptance, system: System, dataset: Dataset) -> Path:
    """Write ``folder/index.html`` and return its path. Raises ``DataError`` if the file cannot be written."""
    title = f"Acceptance of {system.model.manifest.name} with {system.bundle.manifest.name}"
    write_page(folder / PAGE, page(title, _body(title, acceptance, system, dataset)))
    return folder / PAGE


def _body(title: str, acceptance: Acceptance, system: System, dataset: Dataset) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>\n" + "".join(f"<p>{escape(line)}</p>\n" for line in heading(system, dataset).splitlines())
    yield _verdict(acceptance)
    yield _section("Acceptance table", "", table(CRITERIA_HEAD, [criteria_cells(row) for row in acceptance.criteria]))
    yield _section(
        "Views",
        "Accepted: at 1 % false acceptance of the same views without their card in the index. "
        "Named, wrongly and refused: decisions by the bundle's own thresholds. Shares in %, with 95 % Wilson intervals.",
        table(VIEWS_HEAD, [view_cells(row) for row in acceptance.views]),
    )
    yield _section(
        "What each stage adds",
        "The bars show what is accepted at 1 % false acceptance; the dashed marks are the goals, the thin lines 95 % intervals.",
        '<figure><p><span class="key raw"></span> embedding alone '
        f'<span class="key verified"></span> with verification</p>{stage_chart(acceptance.views)}</figure>'
        + table(STAGES_HEAD, stage_rows(acceptance)),
    )
    yield _section("Risk and coverage", coverage_text(acceptance), f"<figure>{risk_coverage_chart(acceptance.curve)}</figure>")
    yield from _failure_sections(acceptance, system)


def _section(title: str, text: str, content: str) -> str:
    intro = f"<p>{escape(text)}</p>\n" if text else ""
    return f"<section><h2>{escape(title)}</h2>\n{intro}{content}</section>\n"


def _verdict(acceptance: Acceptance) -> str:
    passed, failed = acceptance.verdicts.count(True), acceptance.verdicts.count(False)
    minutes = acceptance.seconds / 60.0
    return (
        f'<p><strong class="good">{passed} rows pass</strong>, <strong class="{"bad" if failed else "good"}">'
        f"{failed} miss their bound</strong>; measured in {minutes:.0f} minutes</p>\n"
    )


# --- failures ------------------------------------------------------------------------------------------------------------------------


def _failure_sections(acceptance: Acceptance, system: System) -> Iterator[str]:
    typical = acceptance.failures.typical()
    if not typical:
        yield _section("Failures", "Every image was answered correctly.", "")
    for kind, failures in typical.items():
        tiles = "".join(_failure(failure, system.loaded.gallery, system.bundle.reference_image) for failure in failures)
        text = f"{acceptance.failures.count(kind)} in all, {len(failures)} shown, of each view in turn."
        yield _section(KINDS[kind], text, f'<ul class="wide">{tiles}</ul>')


def _failure(failure: Failure, gallery: Gallery, reference_image: Callable[[CardId], bytes]) -> str:
    answer = f"{failure.status}{f' ({failure.reason})' if failure.reason else ''}, score {failure.score:.2f}"
    truth = _named(failure.shown, gallery) if failure.shown else "no card of the index"
    images = [labeled_image(failure.image, "the view")]
    if failure.shown:
        images.append(labeled_image(reference_image(failure.shown), f"is: {failure.shown}", "good"))
    for candidate in failure.candidates:
        right = failure.shown is not None and gallery.artwork_group(failure.shown) == candidate.artwork_group
        label = f"{candidate.card_id}: cosine {candidate.similarity:.2f}, verified {candidate.verification:.2f}"
        images.append(labeled_image(reference_image(candidate.card_id), label, "good" if right else "bad"))
    text = f"<h3>{escape(failure.view)}</h3>Answer: {escape(answer)}<br>Shows: {escape(truth)}"
    return f'<li>{text}<div class="images">{"".join(images)}</div></li>'


def _named(card_id: CardId, gallery: Gallery) -> str:
    card = gallery.cards.get(card_id)
    return f"{card_id}, {card.name}" if card else str(card_id)
