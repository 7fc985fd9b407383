"""A run's published files as a policy of the simulated bidder: what is served is what was written."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from lab.market.policies import BidTablePolicy
from optimizer.core.serving.keys import segment_key


def read_bid_table(folder: Path, *, spell_key: Callable[[Sequence[str | None]], str] = segment_key) -> BidTablePolicy:
    """Return the bids and multipliers of a run's prefix that was copied to `folder`.

    Reads manifest.json, memcache.csv and, where they are, domain_multipliers.csv and npi_multipliers.csv.

    Args:
        spell_key: how the bidder builds a key; the optimizer's own function by default.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    rule = manifest["bidding"]
    return BidTablePolicy(
        bids=_read_column(folder / "memcache.csv", key="segment_key", value="bid"),
        features=rule["features"],
        fallback_bid_cpm=rule["fallback_bid_cpm"],
        domain_multipliers=_read_column(folder / "domain_multipliers.csv", key="domain", value="multiplier"),
        npi_multipliers=_read_column(folder / "npi_multipliers.csv", key="npi", value="multiplier"),
        run_id=manifest["run_id"],
        max_bid_cpm=rule["max_bid_cpm"],
        spell_key=spell_key,
    )


def _read_column(file: Path, *, key: str, value: str) -> dict[str, float]:
    """The value of each key; nothing where the run wrote no such file."""
    if not file.exists():
        return {}
    table = pd.read_csv(file, usecols=[key, value], dtype={key: str, value: float}, keep_default_na=False)
    return dict(zip(table[key], table[value], strict=True))
