"""Checks that compare all images of a list with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.recognition.alignment import SIGNATURE_SIZE
from edge.recognition.gallery import Gallery
from edge.recognition.verification import LUMA_BYTES
from tools.bundle_build.card_list import ListedImage
from tools.bundle_build.finding import FindingKind, ImageFinding
from tools.bundle_build.reference import Reference

PLACEHOLDER_NAMES: Final = 3
"""An image listed under this many names of one language shows none of them: a card back, or "no image yet"."""

MAX_DEVIATION: Final = 4.0
"""Root mean square between the signatures of one image saved twice, of 255. Re-encoded scans have up to 3, other cards 8 and more."""

MAX_DIFFERENCE: Final = 60
"""In any pixel of the signatures: a set symbol or a number that differs shows here."""

_POOL = 4
_BLOCK_ROWS = 1024
_NAMED = 5


def check_set(rows: Sequence[ListedImage], references: Sequence[Reference]) -> tuple[ImageFinding, ...]:
    """Return the findings about repeated images: placeholders, images repeated within a card, duplicates under several cards."""
    findings: list[ImageFinding] = []
    for alike in _alike(references):
        findings += _findings_of_equal([rows[index] for index in alike], [references[index] for index in alike])
    return tuple(findings)


def artwork_findings(rows: Sequence[ListedImage], references: Sequence[Reference], gallery: Gallery) -> Iterator[ImageFinding]:
    """Yield a finding for the first image of each card that shares its artwork with another card."""
    seen: set[str] = set()
    for row, reference in zip(rows, references, strict=True):
        card_id = row.card.card_id
        others = [other for other in gallery.printings(card_id) if other != card_id]
        if others and card_id not in seen:
            reason = f"{row.image}: shares its artwork with {_names(others)}; every answer names them all"
            yield ImageFinding(row, FindingKind.SAME_ARTWORK, reason, reference.jpeg)
        seen.add(card_id)


def _findings_of_equal(rows: Sequence[ListedImage], references: Sequence[Reference]) -> Iterator[ImageFinding]:
    """Yield the findings about rows that show the same image."""
    if _names_in_one_language(rows) >= PLACEHOLDER_NAMES:
        for row, reference in zip(rows, references, strict=True):
            reason = f"{row.image}: a placeholder or a card back, the same image is listed for {_ids(rows)}; use the card's own scan"
            yield ImageFinding(row, FindingKind.PLACEHOLDER, reason, reference.jpeg)
        return
    first_of: dict[str, ListedImage] = {}
    for row, reference in zip(rows, references, strict=True):
        first = first_of.setdefault(row.card.card_id, row)
        if first is not row:
            yield ImageFinding(
                row, FindingKind.REPEATED, f"{row.image}: the same image as {first.image} of this card; list one", reference.jpeg
            )
    if len(first_of) > 1:
        exact = len({reference.content for reference in references}) == 1
        kind = FindingKind.TWO_NAMES if _names_in_one_language(rows) > 1 else FindingKind.DUPLICATE if exact else FindingKind.NEAR_DUPLICATE
        for row, reference in zip(rows, references, strict=True):
            if first_of[row.card.card_id] is row:
                yield ImageFinding(row, kind, _shared_reason(row, kind, first_of), reference.jpeg)


def _shared_reason(row: ListedImage, kind: FindingKind, first_of: dict[str, ListedImage]) -> str:
    others = _names([card_id for card_id in first_of if card_id != row.card.card_id])
    if kind is FindingKind.TWO_NAMES:
        return f"{row.image}: the image of {others} too, which has another name; one of them needs its own scan"
    how = "the same file" if kind is FindingKind.DUPLICATE else "nearly the same image"
    return f"{row.image}: {how} as for {others}; every answer names them all"


def _names_in_one_language(rows: Sequence[ListedImage]) -> int:
    """Count names per language: a catalog may list one image under a card's names in several languages."""
    names: dict[str | None, set[str]] = {}
    for row in rows:
        names.setdefault(row.card.language, set()).add(row.card.name)
    return max(len(of_language) for of_language in names.values())


def _ids(rows: Sequence[ListedImage]) -> str:
    return _names(list(dict.fromkeys(row.card.card_id for row in rows)))


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")


def _alike(references: Sequence[Reference]) -> Iterator[list[int]]:
    """Yield the indices of identical images, in order, if there is more than one."""
    leader = list(range(len(references)))

    def root(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for one, other in _same_pairs(references):
        low, high = sorted((root(one), root(other)))
        leader[high] = low
    members: dict[int, list[int]] = {}
    for index in range(len(references)):
        members.setdefault(root(index), []).append(index)
    return (alike for alike in members.values() if len(alike) > 1)


def _same_pairs(references: Sequence[Reference]) -> Iterator[tuple[int, int]]:
    """Yield pairs of equal images: every image is compared with all before it, coarsely first."""
    if not references:
        return
    signatures = np.stack([reference.signature[:LUMA_BYTES] for reference in references])
    coarse = _pooled(signatures)
    squares = np.einsum("ij,ij->i", coarse, coarse)
    # averaging can only bring two images closer, so no pair is missed
    bound = coarse.shape[1] * MAX_DEVIATION**2
    for start in range(0, len(coarse), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        distances = squares[block, np.newaxis] + squares[np.newaxis, start:] - 2.0 * (coarse[block] @ coarse[start:].T)
        for row, column in zip(*np.nonzero(np.triu(distances <= bound, k=1)), strict=True):
            one, other = start + int(row), start + int(column)
            difference = signatures[one].astype(np.float32) - signatures[other]
            if np.sqrt(np.mean(difference**2)) <= MAX_DEVIATION and np.abs(difference).max() <= MAX_DIFFERENCE:
                yield one, other


def _pooled(signatures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the means of 4 x 4 pixels, centered so that their products keep their precision."""
    rows, columns = SIGNATURE_SIZE.height // _POOL, SIGNATURE_SIZE.width // _POOL
    blocks = signatures.reshape(-1, rows, _POOL, columns, _POOL).mean(axis=(2, 4), dtype=np.float32).reshape(len(signatures), -1)
    return np.asarray(blocks - blocks.mean(axis=0), dtype=np.float32)
