"""The report: one HTML page that holds everything, tables, drawings and pictures, and asks for nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from edge.errors import DataError
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.system.files import write_atomically
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

PAGE: Final = "index.html"
SHORT_CELL: Final = 34
"""Characters of a cell that is not broken into lines."""
STYLE: Final = Path(__file__).with_name("report.css")


def write_report(folder: Path, acceptance: Acceptance, system: System, dataset: Dataset) -> Path:
    """Write ``folder/index.html``, whole or not at all; return its path. Raises ``DataError`` when the folder cannot be written."""
    path = folder / PAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, page(acceptance, system, dataset), durable=False)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); name another folder with --report") from error
    return path


def page(acceptance: Acceptance, system: System, dataset: Dataset) -> str:
    """Return the page."""
    title = f"Acceptance of {system.model.manifest.name} with {system.bundle.manifest.name}"
    facts = "".join(f"<p>{escape(line)}</p>" for line in heading(system, dataset).splitlines())
    sections = [
        f"<header><h1>{escape(title)}</h1>{facts}{_verdict(acceptance)}</header>",
        _section("Acceptance table", "", table(CRITERIA_HEAD, [criteria_cells(row) for row in acceptance.criteria])),
        _section(
            "Views",
            "Accepted: at 1 % false acceptance of the same views without their card in the index. "
            "Named, wrongly and refused: decisions by the bundle's own thresholds. Shares in %, with 95 % Wilson intervals.",
            table(VIEWS_HEAD, [view_cells(row) for row in acceptance.views]),
        ),
        _section(
            "What each stage adds",
            "The bars show what is accepted at 1 % false acceptance; the dashed marks are the goals, the thin lines 95 % intervals.",
            '<figure><p class="legend"><span class="key raw"></span> embedding alone '
            f'<span class="key verified"></span> with verification</p>{stage_chart(acceptance.views)}</figure>'
            + table(STAGES_HEAD, stage_rows(acceptance)),
        ),
        _section("Risk and coverage", coverage_text(acceptance), f"<figure>{risk_coverage_chart(acceptance.curve)}</figure>"),
        *_failure_sections(acceptance, system),
    ]
    style = STYLE.read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>",
            *sections,
            "</main>\n</body>\n</html>\n",
        ]
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; cells that say pass or FAIL are marked."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(text: str) -> str:
    mark = {"pass": "short pass", "FAIL": "short fail"}.get(text, "short" if len(text) <= SHORT_CELL else "")
    return f'<td class="{mark}">{escape(text)}</td>'


def _section(title: str, text: str, content: str) -> str:
    intro = f"<p>{escape(text)}</p>" if text else ""
    return f"<section><h2>{escape(title)}</h2>{intro}{content}</section>"


def _verdict(acceptance: Acceptance) -> str:
    held, missed = acceptance.verdicts.count(True), acceptance.verdicts.count(False)
    return (
        f'<p class="verdict"><strong class="pass">{held} rows hold</strong> <strong class="{"fail" if missed else "pass"}">'
        f"{missed} miss their bound</strong> <span>measured in {acceptance.seconds / 60.0:.0f} minutes</span></p>"
    )


# --- failures ------------------------------------------------------------------------------------------------------------------------


def _failure_sections(acceptance: Acceptance, system: System) -> list[str]:
    typical = acceptance.failures.typical()
    if not typical:
        return [_section("Failures", "Every picture was answered rightly.", "")]
    sections = []
    for kind, failures in typical.items():
        count = acceptance.failures.count(kind)
        cards = "".join(_failure(failure, system.loaded.gallery, system.bundle.reference_picture) for failure in failures)
        text = f"{count} in all, {len(failures)} shown, of each view in turn."
        sections.append(_section(KINDS[kind], text, f'<div class="failures">{cards}</div>'))
    return sections


def _failure(failure: Failure, gallery: Gallery, reference_picture: Callable[[CardId], bytes]) -> str:
    said = f"{failure.status}{f' ({failure.reason})' if failure.reason else ''}, score {failure.score:.2f}"
    shown = _named(failure.shown, gallery) if failure.shown else "no card of the index"
    tiles = [_tile(failure.picture, "the view", "")]
    if failure.shown:
        tiles.append(_tile(reference_picture(failure.shown), f"is: {failure.shown}", "truth"))
    for candidate in failure.candidates:
        right = failure.shown is not None and gallery.artwork_group(failure.shown) == candidate.artwork_group
        label = f"{candidate.card_id}: cosine {candidate.similarity:.2f}, verified {candidate.verification:.2f}"
        tiles.append(_tile(reference_picture(candidate.card_id), label, "right" if right else "other"))
    return (
        f"<article><h3>{escape(failure.view)}</h3><p><b>Said:</b> {escape(said)}<br><b>Shows:</b> {escape(shown)}</p>"
        f'<div class="tiles">{"".join(tiles)}</div></article>'
    )


def _tile(picture: bytes, label: str, kind: str) -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}"
    return f'<figure class="tile {kind}"><img alt="{escape(label)}" src="{source}"><figcaption>{escape(label)}</figcaption></figure>'


def _named(card_id: CardId, gallery: Gallery) -> str:
    card = gallery.cards.get(card_id)
    return f"{card_id}, {card.name}" if card else str(card_id)
