"""A request for a price: one impression, as macros."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)  # frozen, it would take three times as long to make
class PriceRequest:
    """One impression. Values of macros are texts exactly as BIDS logs them; an absent one is None or empty.

    A macro that is not named at all is not known: no segment's bid is looked up where a run's key needs it.

    user_id and auction_id: the first that is given decides which run prices the request.
    domain and npi: for the multipliers; the values of their macros by default. The NPI never shows in a repr.
    withholds_npi: no NPI multiplier, even where a macro has the NPI: the user's privacy restricts it.
    is_first_price: the auction says that the winner pays its own bid.
    floor_cpm: the least bid that the SSP takes, in our currency; None where it passes none.
    """

    macros: Mapping[str, str | None] = field(repr=False)
    user_id: str | None = field(default=None, repr=False)
    auction_id: str | None = None
    domain: str | None = None
    npi: str | None = field(default=None, repr=False)
    floor_cpm: float | None = None
    withholds_npi: bool = False
    is_first_price: bool = False

    @property
    def identity(self) -> str:
        """The id that the traffic split hashes."""
        return self.user_id or self.auction_id or ""
