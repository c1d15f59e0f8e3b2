"""A folder of drawn cards with one picture of every fault planted in it."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tools.bundle_build.finding import FindingKind
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_back, draw_card
from tools.drawing.spec import card_specs

GOOD = 12


def plant(folder: Path) -> dict[str, FindingKind]:
    """Write pictures and ``cards.csv``; return the kind every planted picture must be found as, by card id."""
    folder.mkdir(exist_ok=True)
    specs = card_specs(GOOD + 8, seed=9)
    cards = [over_white(draw_card(spec)) for spec in specs]
    rows = [(spec.card_id, spec.name, _save(folder, f"good-{number}.png", cards[number])) for number, spec in enumerate(specs[:GOOD])]
    spare = iter(cards[GOOD:])
    upright = next(spare)
    faults = {
        "sideways": (FindingKind.SIDEWAYS, np.rot90(next(spare))),
        "blister": (FindingKind.ODD_SHAPE, _blister(next(spare))),
        "uncropped": (FindingKind.UNCROPPED, _on_ground(next(spare))),
        "blank": (FindingKind.BLANK, np.full((352, 252, 3), 240, np.uint8)),
        "blurred": (FindingKind.BLURRED, cv2.GaussianBlur(next(spare), (0, 0), 2.5)),
        "enlarged": (FindingKind.BLURRED, cv2.resize(cv2.resize(upright, (63, 88), interpolation=cv2.INTER_AREA), (504, 704))),
        "tiny": (FindingKind.TOO_SMALL, cv2.resize(upright, (63, 88), interpolation=cv2.INTER_AREA)),
    }
    planted: dict[str, FindingKind] = {}
    for name, (kind, pixels) in faults.items():
        rows.append((name, f"Card {name}", _save(folder, f"{name}.png", pixels)))
        planted[name] = kind
    back = over_white(draw_back())
    for number in range(3):
        # the same back saved anew each time: no two files are equal
        Image.fromarray(back).save(folder / f"back-{number}.jpg", quality=70 + 8 * number)
        rows.append((f"back-{number}", f"Card behind {number}", f"back-{number}.jpg"))
        planted[f"back-{number}"] = FindingKind.PLACEHOLDER
    (folder / "damaged.png").write_bytes((folder / "good-0.png").read_bytes()[:2000])
    rows += [("damaged", "Damaged", "damaged.png"), ("missing", "Missing", "missing.png")]
    planted |= {"damaged": FindingKind.UNREADABLE, "missing": FindingKind.UNREADABLE}
    # the same card photographed twice, and one scan under two names
    Image.fromarray(cards[1]).save(folder / "again.jpg", quality=88)
    rows += [(specs[1].card_id, specs[1].name, "again.jpg"), ("twin", "Another name", "good-2.png")]
    planted |= {specs[1].card_id: FindingKind.REPEATED, "twin": FindingKind.TWO_NAMES, specs[2].card_id: FindingKind.TWO_NAMES}
    lines = ["card_id,name,image", *(",".join(row) for row in rows)]
    (folder / "cards.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return planted


def _save(folder: Path, name: str, pixels: np.ndarray) -> str:
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    return name


def _blister(card: np.ndarray) -> np.ndarray:
    """A pack on its cardboard, upright: taller than any card."""
    board = np.full((620, 330, 3), (200, 60, 40), np.uint8)
    board[40:120, 40:290] = (250, 230, 90)
    board[200:552, 39:291] = card
    return board


def _on_ground(card: np.ndarray) -> np.ndarray:
    """A card lying on white, the whole shaped like a card."""
    ground = np.full((440, 315, 3), 255, np.uint8)
    ground[60:390, 40:276] = cv2.resize(card, (236, 330), interpolation=cv2.INTER_AREA)
    return ground
