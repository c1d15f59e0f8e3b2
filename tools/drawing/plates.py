"""Bars, boxes, text and icons over and around the illustration, one function per layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tools.drawing import symbols
from tools.drawing.paint import Color, mix
from tools.drawing.sheet import INK, WHITE, Box, Sheet
from tools.drawing.spec import FAMILIES, Attack, Layout


def creature(sheet: Sheet) -> None:
    """Draw the layout of a framed illustration with attacks below and a weakness line at the bottom."""
    spec, light = sheet.spec, mix(sheet.tint, WHITE, 0.78)
    sheet.panel(Box(14, 14, 238, 37), light, radius=5, edge=mix(sheet.tint, INK, 0.5))
    _title(sheet, 20, 31, 140, INK)
    _hit_points(sheet, 31, INK)
    sheet.panel(Box(26, 188, 226, 199), mix(light, (225, 200, 120), 0.5), radius=3, edge=mix(sheet.tint, INK, 0.5))
    sheet.text(
        126, 196.5, f"{spec.stage}  -  No. {spec.art_key[1] + 1:04d}  -  {spec.family} family", 7.2, mix(INK, sheet.tint, 0.2), anchor="ms"
    )
    sheet.panel(Box(15, 203, 237, 312), light, radius=4, opacity=0.82)
    _attacks(sheet, 22, 210, 208, spec.attacks, INK, None)
    _weakness(sheet, 315, INK)
    _footer(sheet, WHITE if sum(sheet.border) < 380 else INK)


def tall(sheet: Sheet) -> None:
    """Draw the layout of a tall illustration with one attack in a band."""
    spec, dark = sheet.spec, mix(sheet.tint, INK, 0.72)
    sheet.panel(Box(11, 12, 241, 35), dark, radius=10, edge=mix(sheet.tint, WHITE, 0.4))
    sheet.icon(symbols.energy(spec.family, sheet.px(18)), 23, 23.5)
    _title(sheet, 37, 29.5, 128, WHITE)
    _hit_points(sheet, 29.5, WHITE, icon=False)
    sheet.panel(Box(13, 257, 239, 314), mix(sheet.tint, WHITE, 0.85), radius=3, opacity=0.93, edge=dark)
    _attacks(sheet, 20, 262, 212, spec.attacks, INK, None)
    _weakness(sheet, 317, INK)
    _footer(sheet, WHITE if sum(sheet.border) < 380 else INK)


def spell(sheet: Sheet) -> None:
    """Draw the layout of a title with its cost, a type line with the set icon, and a box of rules."""
    spec, paper = sheet.spec, mix(sheet.tint, WHITE, 0.82)
    sheet.panel(Box(14, 14, 238, 35), paper, radius=6, edge=INK)
    _title(sheet, 20, 29.5, 135, INK)
    for place in range(spec.cost):
        sheet.icon(
            symbols.energy(spec.family if place else FAMILIES[spec.hit_points // 10 % len(FAMILIES)], sheet.px(14)),
            228 - place * 15.5,
            24.5,
        )
    sheet.panel(Box(14, 200, 238, 218), paper, radius=6, edge=INK)
    sheet.text(20, 213, f"{spec.stage.replace('Basic', 'Swift')} Rite - {spec.family.capitalize()}", 10.5, INK, bold=True)
    sheet.icon(symbols.set_icon(spec.set_code, sheet.px(14), _metal(sheet)), 228, 209)
    sheet.panel(Box(17, 222, 235, 326), mix(paper, (245, 235, 205), 0.5), radius=2, opacity=0.95, edge=mix(sheet.tint, INK, 0.5))
    y = 236.0
    for rule in spec.rules:
        y = sheet.paragraph(23, y, rule, 11.0, 204) + 4.0
    sheet.frame_line(Box(50, y - 6, 202, y - 5.2), mix(sheet.tint, INK, 0.3), radius=0.3, width=0.8)
    sheet.paragraph(23, y + 6, spec.flavor, 8.6, 200, mix(INK, sheet.tint, 0.35))
    sheet.panel(Box(190, 316, 236, 333), paper, radius=5, edge=INK)
    sheet.text(213, 329, f"{spec.cost + 1}/{spec.hit_points // 30 + 1}", 11.5, INK, bold=True, anchor="ms")
    _footer(sheet, WHITE if sum(sheet.border) < 380 else INK)


def item(sheet: Sheet) -> None:
    """Draw the layout of an item: card type on a ribbon, small illustration, much text."""
    spec, ribbon = sheet.spec, mix(sheet.tint, (70, 75, 95), 0.55)
    kind = ("Relic", "Ally", "Scroll", "Tool")[spec.hit_points // 10 % 4]
    sheet.panel(Box(12, 12, 240, 30), ribbon, radius=3, edge=INK)
    sheet.text(20, 25.5, kind.upper(), 11.5, WHITE, bold=True)
    sheet.text(232, 25, "Item card", 8.5, mix(ribbon, WHITE, 0.75), anchor="rs")
    sheet.panel(Box(20, 33, 232, 54), mix(sheet.tint, WHITE, 0.85), radius=3, edge=mix(sheet.tint, INK, 0.5))
    size = sheet.fitting(spec.name, 16, 196)
    sheet.text(126, 49, spec.name, size, INK, bold=True, anchor="ms")
    sheet.panel(Box(16, 195, 236, 328), (246, 241, 228), radius=5, opacity=0.95, edge=mix(sheet.tint, INK, 0.5))
    y = 211.0
    for rule in spec.rules:
        y = sheet.paragraph(25, y, rule, 11.0, 202) + 5.0
    sheet.frame_line(Box(30, y - 5, 222, y - 4), sheet.tint, radius=0.5, width=1.0)
    if y < 306:
        sheet.paragraph(25, y + 8, spec.flavor, 8.6, 202, mix(INK, sheet.tint, 0.4))
    _footer(sheet, WHITE if sum(sheet.border) < 380 else INK)


def full_art(sheet: Sheet) -> None:
    """Draw text over an illustration that covers the whole card."""
    spec = sheet.spec
    dark = mix(sheet.tint, INK, 0.85)
    sheet.frame_line(Box(0, 0, 252, 352), _metal(sheet), radius=12, width=5.0)
    sheet.panel(Box(12, 12, 240, 38), dark, radius=12, opacity=0.5)
    _title(sheet, 22, 31, 140, WHITE, height=18.0, halo=dark)
    _hit_points(sheet, 31, WHITE)
    top = 236 if len(spec.attacks) > 1 else 272
    sheet.panel(Box(12, top, 240, 322), dark, radius=8, opacity=0.62, edge=mix(sheet.tint, WHITE, 0.5))
    _attacks(sheet, 20, top + 6, 212, spec.attacks, WHITE, dark)
    _footer(sheet, WHITE, halo=INK)


def place(sheet: Sheet) -> None:
    """Draw a banner and one rule over a landscape that covers the whole card."""
    spec = sheet.spec
    sheet.frame_line(Box(0, 0, 252, 352), mix(sheet.border, INK, 0.1), radius=12, width=9.0)
    sheet.panel(Box(22, 226, 230, 250), mix(sheet.tint, WHITE, 0.75), radius=11, opacity=0.94, edge=INK)
    size = sheet.fitting(spec.name, 16, 150)
    sheet.text(126, 243.5, spec.name, size, INK, bold=True, anchor="ms")
    sheet.icon(symbols.set_icon(spec.set_code, sheet.px(15), _metal(sheet)), 214, 238)
    sheet.icon(symbols.energy(spec.family, sheet.px(18)), 38, 238)
    sheet.panel(Box(18, 256, 234, 326), mix(sheet.tint, INK, 0.8), radius=6, opacity=0.6)
    y = sheet.paragraph(27, 271, spec.rules[0], 10.2, 200, WHITE)
    sheet.paragraph(27, y + 4, spec.flavor, 8.4, 200, mix(sheet.tint, WHITE, 0.7))
    _footer(sheet, WHITE, halo=INK)


def _metal(sheet: Sheet) -> Color:
    """Return the print color of the card's rarity."""
    return {"common": INK, "uncommon": (120, 130, 145), "rare": (196, 150, 40), "epic": (205, 80, 40), "legendary": (150, 60, 190)}[
        sheet.spec.rarity
    ]


def _title(sheet: Sheet, x: float, y: float, width: float, color: Color, *, height: float = 16.0, halo: Color | None = None) -> None:
    sheet.text(x, y, sheet.spec.name, sheet.fitting(sheet.spec.name, height, width), color, bold=True, halo=halo)


def _hit_points(sheet: Sheet, y: float, color: Color, *, icon: bool = True) -> None:
    spec = sheet.spec
    right = 213.0 if icon else 231.0
    sheet.text(right, y, str(spec.hit_points), 18, mix((200, 30, 30), color, 0.45 if color == INK else 0.85), bold=True, anchor="rs")
    sheet.text(right - 11.5 * len(str(spec.hit_points)), y, "HP", 8, color, bold=True, anchor="rs")
    if icon:
        sheet.icon(symbols.energy(spec.family, sheet.px(18)), 225, y - 6)


def _attacks(sheet: Sheet, x: float, y: float, width: float, attacks: tuple[Attack, ...], ink: Color, halo: Color | None) -> None:
    for attack in attacks:
        for number, family in enumerate(attack.cost):
            sheet.icon(symbols.energy(family, sheet.px(13)), x + 6.5 + number * 14, y + 8)
        indent = x + 14 * len(attack.cost) + 6
        sheet.text(
            indent, y + 12.5, attack.name, sheet.fitting(attack.name, 13.5, width - 36 - 14 * len(attack.cost)), ink, bold=True, halo=halo
        )
        if attack.damage:
            sheet.text(x + width, y + 13.5, str(attack.damage), 17, ink, bold=True, anchor="rs", halo=halo)
        y += 26.0
        if attack.effect:
            y = sheet.paragraph(x, y - 1.0, attack.effect, 8.6, width, ink, halo=halo) + 0.5
    if halo is None and y < 292 and sheet.spec.layout == "creature":
        sheet.frame_line(Box(x, y - 6, x + width, y - 5.2), mix(sheet.tint, INK, 0.3), radius=0.3, width=0.8)
        sheet.paragraph(x, y + 5, sheet.spec.flavor, 8.0, width, mix(ink, sheet.tint, 0.4))


def _weakness(sheet: Sheet, y: float, ink: Color) -> None:
    spec = sheet.spec
    sheet.panel(Box(15, y, 237, y + 13), mix(sheet.tint, WHITE, 0.6), radius=4, opacity=0.9)
    sheet.text(21, y + 9.4, "weakness", 7.2, ink)
    weak = FAMILIES[(FAMILIES.index(spec.family) + spec.cost) % len(FAMILIES)]
    sheet.icon(symbols.energy(weak, sheet.px(10)), 62, y + 6.5)
    sheet.text(69, y + 9.6, "+20", 8.2, ink, bold=True)
    sheet.text(176, y + 9.4, "retreat", 7.2, ink)
    for step in range(1 + spec.cost % 3):
        sheet.icon(symbols.energy("steel", sheet.px(10)), 209 + step * 10.5, y + 6.5)


def _footer(sheet: Sheet, ink: Color, *, halo: Color | None = None) -> None:
    """Draw artist, set icon, collector number and rarity at the bottom border."""
    spec, y = sheet.spec, 341.0 if sheet.spec.layout not in ("full-art", "place") else 335.0
    sheet.text(17, y, f"Illus. {spec.artist}", 7.0, ink, halo=halo)
    sheet.text(126, y, f"{spec.set_code}  {spec.language.upper()}", 7.0, ink, anchor="ms", halo=halo)
    sheet.text(199, y, spec.collector_number, 8.2, ink, bold=True, anchor="rs", halo=halo)
    sheet.icon(symbols.set_icon(spec.set_code, sheet.px(10), ink), 207, y - 3)
    icon = symbols.rarity_icon(spec.rarity, sheet.px(8), ink)
    sheet.icon(icon, 214 + icon.shape[1] / sheet.scale / 2, y - 3)


PLATES: Final[dict[Layout, Callable[[Sheet], None]]] = {
    "creature": creature,
    "tall": tall,
    "spell": spell,
    "item": item,
    "full-art": full_art,
    "place": place,
}
