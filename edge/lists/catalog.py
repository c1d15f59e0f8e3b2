"""What a list needs to know about the cards of the active index."""

from collections.abc import Iterable, Mapping
from typing import Protocol


class CatalogCard(Protocol):
    """A card of the index; ``attributes`` are the further columns of its ``cards.csv``."""

    @property
    def card_id(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def set(self) -> str | None: ...  # noqa: D102
    @property
    def number(self) -> str | None: ...  # noqa: D102
    @property
    def rarity(self) -> str | None: ...  # noqa: D102
    @property
    def language(self) -> str | None: ...  # noqa: D102
    @property
    def attributes(self) -> Mapping[str, str]: ...  # noqa: D102


class Catalog(Protocol):
    """The cards of the active index."""

    def card(self, card_id: str) -> CatalogCard | None:
        """Return a card, None if the index does not have it."""
        ...

    def cards(self) -> Iterable[CatalogCard]:
        """Return all cards of the index."""
        ...
