"""Names of browsers and platforms in `device.sua`, the structured user agent (client hints).

A browser names several brands in random order: its own, its engine's, and one that means nothing (GREASE).
"""

from typing import Any

from optimizer.bidder.openrtb.scalars import as_text

_ENGINES = frozenset({"chromium", "applewebkit", "gecko"})
_GREASE = "notabrand"
"""The letters of every GREASE brand: `Not;A=Brand`, `Not/A)Brand`, ..."""


def brand_of(value: Any) -> str | None:
    """Return the brand that an object of type BrandVersion names, or the browser's own of a list of them.

    An engine counts where no browser is named. None: nothing is named, or the value is something else.
    """
    if isinstance(value, dict):
        return as_text(value.get("brand"))
    if not isinstance(value, list):
        return None
    brands = [as_text(it.get("brand")) for it in value if isinstance(it, dict)]
    named = [brand for brand in brands if brand and not _is_grease(brand)]
    return next((brand for brand in named if brand.casefold() not in _ENGINES), named[0] if named else None)


def _is_grease(brand: str) -> bool:
    return "".join(letter for letter in brand.casefold() if letter.isalpha()) == _GREASE
