"""What an entity is priced with from one switch to the next. Nothing in it ever changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from optimizer.bidder.tables import BidTable
from optimizer.core.serving.traffic import TrafficSplit


@dataclass(frozen=True, slots=True)
class ServedRun:
    """A run as the bidder serves it: its key's macros in order, its bids, its multipliers and its bounds, CPM.

    is_manifest_checked: whether the control plane has the manifest's checksum, which older runs lack.
    """

    run_id: str
    macros: tuple[str, ...]
    bids: BidTable
    domain_multipliers: Mapping[str, float]
    npi_multipliers: Mapping[str, float] = field(repr=False)
    fallback_bid_cpm: float
    max_bid_cpm: float
    is_second_price: bool = False
    is_manifest_checked: bool = True


@dataclass(frozen=True, slots=True)
class Generation:
    """The runs of one entity with their shares of its traffic, and where a request carries domain and NPI.

    fingerprint: what deployments, manifests and macros it was made of; two alike price alike.
    """

    entity_code: str
    fingerprint: str
    percents: Mapping[str, int]
    split: TrafficSplit
    runs: Mapping[str, ServedRun]
    domain_macro: str | None
    npi_macro: str | None
    loaded_at: datetime
