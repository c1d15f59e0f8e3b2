"""What a list needs to know about the cards of the active index."""

from collections.abc import Iterable, Mapping
from typing import Protocol


class CatalogCard(Protocol):
    """A card of the index."""

    @property
    def card_id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def set(self) -> str | None:
        """The code of its set."""
        ...

    @property
    def number(self) -> str | None:
        """Its collector number as listed."""
        ...

    @property
    def rarity(self) -> str | None:
        """Its rarity."""
        ...

    @property
    def language(self) -> str | None:
        """Its language."""
        ...

    @property
    def attributes(self) -> Mapping[str, str]:
        """The further columns of ``cards.csv``."""
        ...


class Catalog(Protocol):
    """The cards of the active index."""

    def card(self, card_id: str) -> CatalogCard | None:
        """Return a card, None if the index does not have it."""
        ...

    def cards(self) -> Iterable[CatalogCard]:
        """Return all cards of the index."""
        ...
