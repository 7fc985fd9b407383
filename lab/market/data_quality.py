"""What is wrong with real logs: each with its own switch and random stream, touching no rows but its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lab.market.auctions import spell_ids
from lab.market.streams import open_stream
from lab.market.tables import BIDS_SCHEMA, Events

Soiling = Callable[[Events, Events, float, np.random.Generator], Events]

NULL_TOKENS = (None, "", "null", "NULL", "unknown", "(none)", "-1")
_TOKEN_FEATURES = ("internal_adspace_id", "geo_region_name", "os_code", "browser_code", "device_type", "domain")
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Dirt:
    """Shares of soiled rows, 0 by default: of the views, or of the bids for zero bids and null tokens.

    duplicated_views adds copies that come up to an hour later; zero_bids adds bids of 0; views_without_bid adds views
    (and no clicks) of unknown bids; late_events delays views, with their clicks, by 1 to 48 hours; null_tokens puts
    one of NULL_TOKENS in the place of one feature value.
    """

    duplicated_views: float = 0.0
    zero_bids: float = 0.0
    views_without_bid: float = 0.0
    late_events: float = 0.0
    null_tokens: float = 0.0


TYPICAL_DIRT = Dirt(duplicated_views=0.01, zero_bids=0.02, views_without_bid=0.01, late_events=0.02, null_tokens=0.005)


def soil(events: Events, *, dirt: Dirt, seed: int) -> Events:
    """Return the events with the dirt; rows that are added come after all others."""
    steps: tuple[tuple[str, Soiling], ...] = (
        ("late_events", _delay_events),
        ("null_tokens", _put_null_tokens),
        ("duplicated_views", _duplicate_views),
        ("views_without_bid", _add_orphan_views),
        ("zero_bids", _add_zero_bids),
    )
    clean = events
    for name, step in steps:
        if share := getattr(dirt, name):
            events = step(clean, events, share, open_stream(seed, "dirt", name))
    return events


def _delay_events(clean: Events, events: Events, share: float, rng: np.random.Generator) -> Events:
    chosen = _choose(rng, len(clean.views), share)
    delay = np.zeros(len(clean.views), dtype=np.int64)
    delay[chosen] = rng.integers(_HOUR_US, 48 * _HOUR_US, size=len(chosen))
    view_of_click = pc.index_in(clean.clicks["bid_id"], value_set=clean.views["bid_id"].combine_chunks()).to_numpy()
    return replace(
        events,
        views=_shift(events.views, column="view_ts", by_us=delay),
        clicks=_shift(events.clicks, column="click_ts", by_us=delay[view_of_click]),
    )


def _put_null_tokens(clean: Events, events: Events, share: float, rng: np.random.Generator) -> Events:
    chosen = _choose(rng, len(clean.bids), share)
    feature_of = rng.integers(len(_TOKEN_FEATURES), size=len(chosen))
    bids = events.bids
    for number, feature in enumerate(_TOKEN_FEATURES):
        rows = chosen[feature_of == number]
        mask = np.zeros(len(bids), dtype=bool)
        mask[rows] = True
        tokens = pa.array(NULL_TOKENS, pa.string()).take(pa.array(rng.integers(len(NULL_TOKENS), size=len(rows))))
        soiled = pc.replace_with_mask(bids[feature].combine_chunks(), pa.array(mask), tokens)
        bids = bids.set_column(bids.schema.get_field_index(feature), feature, soiled)
    return replace(events, bids=bids)


def _duplicate_views(clean: Events, events: Events, share: float, rng: np.random.Generator) -> Events:
    copies = clean.views.take(_choose(rng, len(clean.views), share))
    copies = _shift(copies, column="view_ts", by_us=rng.integers(_HOUR_US, size=len(copies)))
    return replace(events, views=pa.concat_tables([events.views, copies]))


def _add_orphan_views(clean: Events, events: Events, share: float, rng: np.random.Generator) -> Events:
    orphans = clean.views.take(_choose(rng, len(clean.views), share))
    orphans = orphans.set_column(0, "bid_id", _new_ids(rng, len(orphans)))
    return replace(events, views=pa.concat_tables([events.views, orphans]))


def _add_zero_bids(clean: Events, events: Events, share: float, rng: np.random.Generator) -> Events:
    zeros = clean.bids.take(_choose(rng, len(clean.bids), share))
    zeros = zeros.set_column(0, "bid_id", _new_ids(rng, len(zeros)))
    for name, value in (
        ("bid_cpm", 0.0),
        ("base_bid_cpm", None),
        ("domain_multiplier", None),
        ("npi_multiplier", None),
    ):
        column = pa.repeat(pa.scalar(value, pa.float64()), len(zeros))
        zeros = zeros.set_column(BIDS_SCHEMA.get_field_index(name), name, column)
    return replace(events, bids=pa.concat_tables([events.bids, zeros]))


def _choose(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    return np.sort(rng.choice(rows, size=round(share * rows), replace=False))


def _new_ids(rng: np.random.Generator, count: int) -> pa.Array:
    return spell_ids(rng.integers(2**64, dtype=np.uint64, size=count))


def _shift(table: pa.Table, *, column: str, by_us: np.ndarray) -> pa.Table:
    shifted = pc.add(table[column], pa.array(by_us, pa.duration("us")))
    return table.set_column(table.schema.get_field_index(column), column, shifted)
