"""Texts of a CSV file without what a spreadsheet would run as a formula.

A cell that begins with = + - @ is a formula, also behind invisible characters. A spreadsheet that splits at another
separator than the comma, as those of many countries do at the semicolon, finds more cells, inside the texts.
"""

import re

_UNSEEN = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_EQUALS = "=@\ufe66\ufe6b\uff1d\uff20"
_PLUS = "+\u2212\ufe62\ufe63\uff0b\uff0d-"
"""With these begin ordinary words and numbers, too. What runs something has a parenthesis or an exclamation mark, or
ends with an operator before the next column."""

_BEGINNING = re.compile(f"[\\s{_UNSEEN}]*[{_EQUALS}{_PLUS}]|[\t\r\n]")
_PADDING = f'(?:[^\\S\t\r\n]|["{_UNSEEN}])*+'
_ACTIVE = r"(?:[(!]|(?<![\w.%])\Z)"
_CELLS = {";": ";\r\n", "\t": "\t\r\n", "|": "|\r\n", "\r\n": "\r\n"}
"""What a cell inside a text follows, and what ends it then."""

_INSIDE = re.compile(
    "|".join(
        f"(?<=[{before}])(?={_PADDING}(?:[{_EQUALS}]|[{_PLUS}][^{end}]*{_ACTIVE}))" for before, end in _CELLS.items()
    )
)
_INSIDE_JSON = re.compile(f"([;|][\\s{_UNSEEN}]*+)([{_EQUALS}{_PLUS}])")


def without_formulas(text: str) -> str:
    """Return a text with a ' in front of what would run."""
    inside = _INSIDE.sub("'", text)
    return f"'{inside}" if _BEGINNING.match(text) else inside


def json_without_formulas(text: str) -> str:
    """Return a JSON text of the same value; the signs that would run are escapes."""
    return _INSIDE_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text)
