"""Are the staged tables, from which the files are written, whole and what compute_bids wrote?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.checks.measures import BidMeasures
from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.pricing.bids import NO_BID
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.serving.keys import MAX_KEY_BYTES, segment_key

MAX_WIN_RATE_MISMATCH = 0.03
NOTED = ("total_segments", "segments_count", "segments_in_memcache", "bid_median", "bid_min", "bid_max")
"""Figures that compute_bids noted and that the bid table must confirm."""

TABLES = (
    Rule(
        name="changed_tables",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="staged tables are not what compute_bids wrote",
        next_step="clear compute_bids and the tasks after it, and find out who changed the staging prefix",
    ),
    Rule(
        name="segment_rows_missing",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="the bid table does not have exactly the segments that were trained",
        next_step="clear compute_bids and the tasks after it",
    ),
    Rule(
        name="bids_missing",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="segments have no usable bid and no reason for it",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="noted_figures_wrong",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="the figures of the run do not fit its bid table",
        next_step="clear compute_bids and the tasks after it",
    ),
    Rule(
        name="win_rate_mismatch",
        severity="hard",
        relation="<=",
        limit_text="0.03",
        problem="the served bids do not win what the run expects of them",
        next_step="clear compute_bids and the tasks after it",
    ),
    Rule(
        name="duplicate_keys",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="two segments share a key",
        next_step="do not use this run; report it to the optimizer team",
    ),
    Rule(
        name="keys_unlike_features",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="keys are not those that the bidder builds from the features",
        next_step="do not use this run; clear compute_bids and the tasks after it",
    ),
    Rule(
        name="longest_key_bytes",
        severity="hard",
        relation="<=",
        limit_text=str(MAX_KEY_BYTES),
        problem="memcached refuses longer keys",
        next_step="remove a feature with long values from opt_feature_macros",
    ),
)

_RULES = by_name(TABLES)


@dataclass(frozen=True, slots=True)
class StagedTables:
    """What a run is about to publish, as staged.

    bids, segments: one row a segment; segments is what training left.
    features: of the segment key, in order.
    noted: the figures that compute_bids noted.
    changed: names of staged tables that are not what compute_bids wrote.
    """

    bids: pd.DataFrame
    segments: pd.DataFrame
    features: Sequence[str]
    noted: BidFigures
    changed: Sequence[str]


def table_checks(staged: StagedTables, measured: BidMeasures) -> list[Check]:
    """Return the checks that the tables are whole; `measured` are the figures of its bid table."""
    bids = staged.bids
    keys, own_keys = bids["segment_key"], _keys(bids, staged.features)
    served = keys[bids["is_served"].to_numpy(bool) | bids["is_blocked"].to_numpy(bool)]
    wrong = [name for name in NOTED if not _is_same(getattr(measured, name), getattr(staged.noted, name))]
    mismatch = abs(measured.win_rate - staged.noted.expected_win_rate)
    return [
        _named("changed_tables", staged.changed, "are not what compute_bids wrote"),
        _RULES["segment_rows_missing"].check(_missing_rows(staged), 0),
        _RULES["bids_missing"].check(_missing_bids(bids), 0),
        _named("noted_figures_wrong", wrong, "do not fit the bid table"),
        _RULES["win_rate_mismatch"].check(mismatch, MAX_WIN_RATE_MISMATCH),
        _RULES["duplicate_keys"].check(int(keys.duplicated().sum()), 0),
        _RULES["keys_unlike_features"].check(int((keys.to_numpy() != own_keys).sum()), 0),
        _RULES["longest_key_bytes"].check(max((len(str(key).encode()) for key in served), default=0), MAX_KEY_BYTES),
    ]


def _named(rule: str, names: Sequence[str], what: str) -> Check:
    return _RULES[rule].check(len(names), 0, problem=f"{', '.join(names)} {what}")


def _is_same(measured: float | None, noted: float | None) -> bool:
    if measured is None or noted is None:
        return measured is noted
    return bool(np.isclose(measured, noted, rtol=1e-9, atol=0))


def _keys(table: pd.DataFrame, features: Sequence[str]) -> np.ndarray:
    values = table[list(features)].astype("object")
    rows = values.where(values.notna(), None).itertuples(index=False, name=None)
    return np.array([segment_key(row) for row in rows], dtype=object)


def _missing_rows(staged: StagedTables) -> int:
    """Segments in one table alone, and those whose requests differ."""
    columns = [table.set_index(_keys(table, staged.features))["bids"] for table in (staged.bids, staged.segments)]
    joined = pd.concat([column.groupby(level=0).sum() for column in columns], axis=1, join="outer")
    return int((joined.iloc[:, 0] != joined.iloc[:, 1]).sum())


def _missing_bids(bids: pd.DataFrame) -> int:
    """Rows without a finite bid that nothing explains, and blocked keys with a bid."""
    is_without_reason = bids["reason"] != NO_BID
    prices = bids[["suggested_bid_cpm", "planned_bid_cpm"]].to_numpy(float)
    is_missing = ~np.isfinite(prices).all(axis=1) & is_without_reason
    is_served_without = bids["is_served"].to_numpy(bool) & ~np.isfinite(prices[:, 0])
    is_blocked_with = bids["is_blocked"].to_numpy(bool) & np.isfinite(prices[:, 0])
    return int((is_missing | is_served_without | is_blocked_with).sum())
