r"""How trading card games print their collector numbers: regular expressions, examples and public sources. Data only.

A pattern describes text in the normal form of ``edge.recognition.printed_number.normal_text``: upper case, ``-`` for every dash, one space
for every separator and space, none around a stroke. Its groups are ``set`` (code of the set), ``language`` (mark of the language),
``number`` and ``total`` (with their letters), and ``rarity``. Patterns use only literals, ``\d`` and the classes ``[A-Z]`` and ``[A-Z0-9]``
for what OCR may confuse. The first format that fits decides, so that the strictest come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Shape(StrEnum):
    """The shape of a number as printed.

    ``fraction``: number and size of the set, ``058/172``. ``code``: code of the set, separator, number, ``OP01-016``. ``joined``: letters
    and number without a separator, ``SWSH001``. ``bare``: the number alone, which is never looked for in the text of a card.
    """

    FRACTION = "fraction"
    CODE = "code"
    JOINED = "joined"
    BARE = "bare"


class NumberRegion(StrEnum):
    """Where a game prints the number: along the bottom edge of the card, or directly below the artwork."""

    BOTTOM = "bottom"
    BELOW_ARTWORK = "below_artwork"


@dataclass(frozen=True, slots=True)
class Example:
    """A number as printed, and its parts: label (code of the set and letters), number, letters behind it, total, language."""

    printed: str
    label: str
    number: int
    suffix: str = ""
    total: int | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """One form in which a game prints its numbers."""

    game: str
    shape: Shape
    pattern: str
    examples: tuple[Example, ...]
    source: str
    region: NumberRegion = NumberRegion.BOTTOM


LANGUAGE_MARKS: Final[Mapping[str, str]] = MappingProxyType({
    "EN": "en", "E": "en", "DE": "de", "G": "de", "FR": "fr", "F": "fr", "IT": "it", "I": "it", "ES": "es", "SP": "es", "S": "es",
    "PT": "pt", "P": "pt", "JA": "ja", "JP": "ja", "J": "ja", "KO": "ko", "KR": "ko", "K": "ko", "RU": "ru", "ZH": "zh", "CS": "zh",
    "CT": "zh", "TC": "zh", "SC": "zh", "AE": "en",
})  # fmt: skip
"""Marks of languages on cards, and the ISO 639-1 code. Single letters stand only in numbers of Yu-Gi-Oh!, as in ``LOB-E001``.

Sources: https://scryfall.com/docs/api/languages (printed codes) and https://yugipedia.com/wiki/Card_Number (region codes).
"""

_MTG_RULES: Final = "https://mtg.fandom.com/wiki/Collector_number"
_MTG_LINE: Final = "https://mtg.gamepedia.com/Information_below_the_text_box"
_POKEMON: Final = "https://documents.tcgcollector.com/card-database/conventions"
_YUGIOH: Final = "https://yugipedia.com/wiki/Card_Number"
_LORCANA: Final = "https://github.com/LorcanaJSON/LorcanaJSON, util/IdentifierParser.py"

NUMBER_FORMATS: Final[tuple[NumberFormat, ...]] = (
    NumberFormat(
        "Disney Lorcana",
        Shape.FRACTION,
        r"(?P<number>\d{1,3})/(?P<total>\d{2,3}|P\d) (?P<language>EN|DE|FR|IT|JA|ZH) (?P<set>\d{1,2})",
        (Example("12/204 • EN • 1", "1", 12, total=204, language="en"), Example("207/204 · DE · 10", "10", 207, total=204, language="de")),
        _LORCANA,
    ),
    NumberFormat(
        "Weiß Schwarz",
        Shape.CODE,
        r"(?P<set>[A-Z0-9]{2,4}/[A-Z]{1,2}\d{2,3})-(?P<number>[A-Z]{0,2}\d{2,3}[A-Z]{0,3})(?: (?P<rarity>[A-Z]{1,3}))?",
        (Example("LB/W21-005 R", "LBW21", 5), Example("P4/SE15-05", "P4SE15", 5), Example("BD/W54-E001", "BDW54E", 1)),
        "https://weissschwarz.fandom.com/wiki/Card_Taxonomy",
    ),
    NumberFormat(
        "Union Arena",
        Shape.CODE,
        r"(?P<set>[A-Z]{2}\d{2}[A-Z]{2}/[A-Z0-9]{2,3}-\d)-(?P<number>\d{3})",
        (Example("UE01BT/CGH-1-001", "UE1BTCGH1", 1),),
        "https://game-academia.com/blogs/union-arena-tcg/union-arena-tcg-basic-rules-faq-17th-march-2023",
    ),
    NumberFormat(
        "Pokémon (promotional, Japan)",
        Shape.FRACTION,
        r"(?P<number>\d{1,3})/(?P<set>[A-Z]{1,4}-P)",
        (Example("123/SV-P", "SVP", 123), Example("001/S-P", "SP", 1)),
        _POKEMON,
    ),
    NumberFormat(
        "Pokémon (promotional, as catalogs list them)",
        Shape.CODE,
        r"(?P<set>[A-Z]{1,4}-P) (?P<number>\d{1,3})",
        (Example("SV-P 123", "SVP", 123),),
        _POKEMON,
    ),
    NumberFormat(
        "Yu-Gi-Oh!",
        Shape.CODE,
        r"(?P<set>[A-Z0-9]{2,5})-(?P<language>EN|DE|FR|IT|SP|PT|JP|KR|AE|TC|SC|E|G|F|I|S|P|J|K)(?P<number>[A-Z]{0,2}\d{1,3})",
        (
            Example("LOB-EN001", "LOB", 1, language="en"),
            Example("LOB-E003", "LOB", 3, language="en"),
            Example("MP19-DE014", "MP19", 14, language="de"),
            Example("DUEA-ENSE1", "DUEASE", 1, language="en"),
        ),
        _YUGIOH,
        NumberRegion.BELOW_ARTWORK,
    ),
    NumberFormat(
        "Yu-Gi-Oh! (first series)",
        Shape.CODE,
        r"(?P<set>[A-Z]{3})-(?P<number>\d{3})",
        (Example("SDK-001", "SDK", 1),),
        _YUGIOH,
        NumberRegion.BELOW_ARTWORK,
    ),
    NumberFormat(
        "One Piece Card Game",
        Shape.CODE,
        r"(?P<set>(?:OP|ST|EB|PRB)\d{2}|P)-(?P<number>\d{3})(?: (?P<rarity>[A-Z]{1,3}))?",
        (Example("OP01-016", "OP1", 16), Example("ST01-013", "ST1", 13), Example("P-001", "P", 1), Example("PRB01-001 SR", "PRB1", 1)),
        "https://hikarudistribution.com/en/blogs/actualite/guide-complet-one-piece (codes OP, ST, EB); the card list links OP01-025",
    ),
    NumberFormat(
        "Digimon Card Game",
        Shape.CODE,
        r"(?P<set>(?:BT|EX|ST|RB|AD)\d{1,2}|LM|P)-(?P<number>\d{2,3})(?: (?P<rarity>[A-Z]{1,3}))?",
        (Example("BT1-001", "BT1", 1), Example("EX10-009 R", "EX10", 9), Example("LM-012", "LM", 12)),
        "https://digimoncard.net/tag/tcg/page/2/ (BT1-084); https://techraptor.net/tabletop/guides/how-to-understand-digimon-card-rarity",
        NumberRegion.BELOW_ARTWORK,
    ),
    NumberFormat(
        "Dragon Ball Super Card Game",
        Shape.CODE,
        r"(?P<set>[A-Z]{1,2}\d{0,2})-(?P<number>\d{2,3})(?: (?P<rarity>[A-Z]{1,3}))?",
        (Example("BT1-001", "BT1", 1), Example("SD2-01", "SD2", 1), Example("FB01-001 L", "FB1", 1)),
        "http://www.dbs-cardgame.com/rule/card_faq.php",
    ),
    NumberFormat(
        "Riftbound",
        Shape.CODE,
        r"(?P<set>[A-Z]{3})-(?P<number>[A-Z]{0,1}\d{2,3}[A-Z]?)(?:/(?P<total>\d{2,3}))?",
        (Example("OGN-007", "OGN", 7), Example("OGN-007a/298", "OGN", 7, "A", 298), Example("SFD-R01b", "SFDR", 1, "B")),
        "https://openrift.app/help/cards-printings-copies",
    ),
    NumberFormat(
        "Riftbound (separated by a dot)",
        Shape.CODE,
        r"(?P<set>[A-Z]{3}) (?P<number>\d{3}[A-Z]?)/(?P<total>\d{2,3})",
        (Example("OGN • 001/298", "OGN", 1, total=298),),
        "https://openrift.app/help/cards-printings-copies",
    ),
    NumberFormat(
        "Star Wars: Unlimited",
        Shape.FRACTION,
        r"(?P<number>\d{1,4})/(?P<total>\d{2,4}) (?P<set>[A-Z]{3})(?: (?P<language>EN|DE|FR|IT|ES))?",
        (Example("051/252 • SOR", "SOR", 51, total=252), Example("010/252 SHD EN", "SHD", 10, total=252, language="en")),
        "https://starwarsunlimited.com/de/articles/behind-unlimited-lessons-accomplishments-2024 (set, number)",
    ),
    NumberFormat(
        "Pokémon (with code of the set and language), Star Wars: Unlimited",
        Shape.FRACTION,
        r"(?P<set>[A-Z][A-Z0-9]{2,4}) (?P<language>EN|DE|FR|IT|ES|PT) (?P<number>[A-Z]{0,4}\d{1,3}[A-Z]?)/(?P<total>[A-Z]{0,4}\d{1,3})",
        (Example("SVI EN 058/198", "SVI", 58, total=198, language="en"), Example("SOR • EN 051/252", "SOR", 51, total=252, language="en")),
        _POKEMON,
    ),
    NumberFormat(
        "Pokémon (promotional, with code of the set and language)",
        Shape.CODE,
        r"(?P<set>[A-Z]{3}) (?P<language>EN|DE|FR|IT|ES|PT) (?P<number>\d{3})",
        (Example("SVP EN 001", "SVP", 1, language="en"),),
        _POKEMON,
    ),
    NumberFormat(
        "Magic: The Gathering",
        Shape.FRACTION,
        r"(?P<number>\d{1,4}[A-Z]?)/(?P<total>\d{2,4}) ?(?P<rarity>[CURMLTSP])",
        (Example("123/280 R", "", 123, total=280), Example("249a/249 L", "", 249, "A", 249)),
        _MTG_RULES,
    ),
    NumberFormat(
        "Pokémon",
        Shape.FRACTION,
        r"(?P<number>[A-Z]{0,4}\d{1,4}[A-Z]?)/(?P<total>[A-Z]{0,4}\d{1,4})",
        (
            Example("058/172", "", 58, total=172),
            Example("TG12/TG30", "TG", 12, total=30),
            Example("GG01/GG70", "GG", 1, total=70),
            Example("H1/H32", "H", 1, total=32),
            Example("30a/298", "", 30, "A", 298),
        ),
        _POKEMON,
    ),
    NumberFormat(
        "Magic: The Gathering (since 2023)",
        Shape.FRACTION,
        r"(?P<rarity>[CURMLTSP]) (?P<number>\d{4})",
        (Example("R 0123", "", 123),),
        _MTG_LINE,
    ),
    NumberFormat(
        "Flesh and Blood",
        Shape.JOINED,
        r"(?P<set>[A-Z0-9]{2}[A-Z])(?P<number>\d{3})(?:-(?P<rarity>[CRSMLFTPV]))?",
        (Example("WTR001-T", "WTR", 1), Example("MST131", "MST", 131)),
        "https://fabtcg.com/articles/collectibility-and-fab/",
    ),
    NumberFormat(
        "Pokémon (promotional)",
        Shape.JOINED,
        r"(?P<number>[A-Z]{2,4}\d{2,3})",
        (Example("SWSH001", "SWSH", 1), Example("XY121", "XY", 121)),
        _POKEMON,
    ),
    NumberFormat(
        "any, as catalogs list them with letters for a variant that the card need not bear",
        Shape.BARE,
        r"(?:(?P<set>[A-Z0-9]{1,6})[- ])?(?P<number>[A-Z]{0,5}\d{1,5}[A-Z]?)(?:/(?P<total>[A-Z]{0,4}\d{1,4}))?",
        (
            Example("58", "", 58),
            Example("254★", "", 254),
            Example("301*", "", 301),
            Example("150p", "", 150, "P"),
            Example("241a", "", 241, "A"),
            Example("TG12", "TG", 12),
            Example("TG-12/TG30", "TG", 12, total=30),
        ),
        "https://pub.dev/documentation/scryfall_api/latest/scryfall_api/MtgCard/collectorNumber.html",
    ),
)
