"""Writing a list as text."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet treat a cell as a formula (OWASP, "CSV Injection")."""


def without_formula(text: str) -> str:
    """Return a cell that no spreadsheet treats as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
