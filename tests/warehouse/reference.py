"""A dirty log, and what its cells must hold: computed in pandas, event by event, without the optimizer's SQL."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from lab.market.data_quality import TYPICAL_DIRT
from lab.market.events import generate_events
from lab.market.presets import PRESETS
from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA, Events
from lab.market.world import World
from optimizer.warehouse.extraction import Window

START = datetime(2026, 1, 6, tzinfo=UTC)
END = datetime(2026, 1, 10, tzinfo=UTC)
WINDOW = Window(object_id=1334, data_start_at=START, data_end_at=END)
FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")
KNOWN_NPI, RESTRICTED_NPI = "9999999991", "9999999992"
"""Of a professional whom privacy restricts once, and of one whom it always does."""

COUNTS = ["bids", "wins", "clicks"]
SUMS = ["bid_cpm_sum", "base_bid_cpm_sum", "cost_cpm_sum", "view_revenue", "click_revenue", "floor_cpm_max"]

_HOUR, _US = timedelta(hours=1), timedelta(microseconds=1)


def dirty_log() -> Events:
    """Return six days of a market, two around each edge of the window, with the typical dirt and `odd_events`."""
    settings = replace(PRESETS["drugs_hcp"], first_day=date(2026, 1, 5), click_rate=0.05)
    world = World.create(11, settings=settings)
    market = generate_events(world, start_day=date(2026, 1, 5), days=6, bids=6_000, dirt=TYPICAL_DIRT)
    other = generate_events(
        World.create(12, settings=replace(settings, object_id=1335)), start_day=date(2026, 1, 5), days=6, bids=300
    )
    odd = odd_events()
    return Events(
        *(
            pa.concat_tables([getattr(log, name) for log in (market, other, odd)])
            for name in ("bids", "views", "clicks")
        )
    )


def odd_events() -> Events:
    """Return one bid for each thing that can be odd about an auction; its bid_id says what."""
    noon = START + 12 * _HOUR
    bids = [
        _bid("at the start", START),
        _bid("just before the start", START - _US),
        _bid("just before the end", END - _US),
        _bid("at the end", END),
        _bid("bid twice", noon, bid_cpm=3.0),
        _bid("bid twice", noon + _HOUR, bid_cpm=4.0),
        _bid("first zero", noon, bid_cpm=0.0),
        _bid("first zero", noon + _HOUR, bid_cpm=5.0),
        _bid("viewed twice", noon),
        _bid("clicked twice", noon),
        _bid("clicked only", noon),
        _bid("zero", noon, bid_cpm=0.0),
        _bid("seen late", END - _HOUR),
        _bid("nothing known", noon, **dict.fromkeys(FEATURES), npi=None, domain=None),
        _bid("nothing said", noon, **dict.fromkeys(FEATURES, ""), npi="", domain=""),
        _bid("other client", noon, object_id=1335),
        _bid("a test", noon, is_test=True, run_id="odd", npi=KNOWN_NPI),
        _bid("no test", noon, is_test=False, run_id="odd", npi=KNOWN_NPI, privacy=""),
        _bid("restricted", noon, privacy="lmt,gpp", run_id="odd", npi=RESTRICTED_NPI),
        _bid("restricted once", noon - _HOUR, privacy="lmt", run_id="odd", npi=KNOWN_NPI),
    ]
    views = [
        ("at the start", START + _US, 2.0, 0.1),
        ("at the end", END + _HOUR, 2.0, 0.1),
        ("bid twice", noon + 2 * _HOUR, 2.0, 0.1),
        ("viewed twice", noon + 2 * _HOUR, 7.0, 0.3),
        ("viewed twice", noon + _HOUR, 2.0, 0.1),
        ("clicked twice", noon + _HOUR, 2.0, 0.1),
        ("zero", noon + _HOUR, 2.0, 0.1),
        ("seen late", END + 48 * _HOUR, 2.0, 0.1),
        ("never bid", noon, 2.0, 0.1),
        ("never bid", noon + _HOUR, 2.0, 0.1),
        ("never bid and late", END, 2.0, 0.1),
        ("other client", noon, 2.0, 0.1),
        ("a test", noon, 2.0, 0.1),
        ("restricted", noon, 2.0, 0.1),
    ]
    clicks = [
        ("clicked twice", noon + 3 * _HOUR, 9.0),
        ("clicked twice", noon + 2 * _HOUR, 5.0),
        ("clicked only", noon + 2 * _HOUR, 5.0),
        ("seen late", END + 49 * _HOUR, 5.0),
        ("never bid", noon + 2 * _HOUR, 5.0),
        ("zero", noon + 2 * _HOUR, 5.0),
    ]
    return Events(
        pa.Table.from_pylist(bids, schema=BIDS_SCHEMA),
        pa.Table.from_pylist(_rows(views, VIEWS_SCHEMA), schema=VIEWS_SCHEMA),
        pa.Table.from_pylist(_rows(clicks, CLICKS_SCHEMA), schema=CLICKS_SCHEMA),
    )


def auctions(log: Events) -> pd.DataFrame:
    """Return one row a usable auction of the window: won if viewed at all, clicked if viewed and clicked."""
    bids, views, clicks = (getattr(log, name).to_pandas() for name in ("bids", "views", "clicks"))
    start, end = (pd.Timestamp(moment).tz_localize(None) for moment in (START, END))
    usable = bids[
        (bids["object_id"] == WINDOW.object_id)
        & (bids["bid_ts"] >= start)
        & (bids["bid_ts"] < end)
        & (bids["bid_cpm"] > 0)
        & ~bids["is_test"].eq(True)
    ]
    first_bids = usable.sort_values("bid_ts", kind="stable").drop_duplicates("bid_id").set_index("bid_id")
    first_views = _first(views[views["view_ts"] >= start], "view_ts")
    first_clicks = _first(clicks[clicks["click_ts"] >= start], "click_ts")
    found = first_bids.join(first_views[["cost_cpm", "revenue"]]).join(first_clicks["revenue"].rename("per_click"))
    is_won = found["cost_cpm"].notna()
    return found.assign(
        day=found["bid_ts"].dt.date,
        wins=is_won.astype(int),
        clicks=(is_won & found["per_click"].notna()).astype(int),
        view_revenue=found["revenue"].fillna(0.0),
        click_revenue=found["per_click"].where(is_won).fillna(0.0),
        price_bucket=_bucket(found["bid_cpm"]),
        base_price_bucket=_bucket(found["base_bid_cpm"]),
    )


def of_known_npis(found: pd.DataFrame) -> pd.DataFrame:
    """Return the auctions whose price could depend on an NPI: there is one, and privacy does not restrict it."""
    return found[(found["npi"].fillna("") != "") & (found["privacy"].fillna("") == "")]


def cells_of(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return counts and sums of the auctions by these columns, sorted by them."""
    groups = found.groupby(by, dropna=False)
    cells = pd.DataFrame(
        {
            "bids": groups.size(),
            "wins": groups["wins"].sum(),
            "clicks": groups["clicks"].sum(),
            "bid_cpm_sum": groups["bid_cpm"].sum(),
            "base_bid_cpm_sum": groups["base_bid_cpm"].sum(min_count=1),
            "cost_cpm_sum": groups["cost_cpm"].sum(),
            "view_revenue": groups["view_revenue"].sum(),
            "click_revenue": groups["click_revenue"].sum(),
            "floor_cpm_max": groups["floor_cpm"].max(),
        }
    )
    return cells.reset_index()


def assert_same_cells(cells: pd.DataFrame, expected: pd.DataFrame, by: list[str]) -> None:
    """Raise unless both hold the same rows: counts exactly, sums to nine decimals."""
    found, wanted = (_sorted(frame, by) for frame in (cells, expected))
    assert len(found) == len(wanted)
    pd.testing.assert_frame_equal(found[[*by, *COUNTS]], wanted[[*by, *COUNTS]], check_dtype=False)
    np.testing.assert_allclose(found[SUMS].astype(float), wanted[SUMS].astype(float), rtol=1e-12, atol=1e-9)


def _sorted(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    texts = frame.assign(**{column: frame[column].astype(object).where(frame[column].notna(), "") for column in by})
    return texts.sort_values(by, key=lambda values: values.astype(str), ignore_index=True)


def _first(events: pd.DataFrame, moment: str) -> pd.DataFrame:
    return events.sort_values(moment, kind="stable").drop_duplicates("bid_id").set_index("bid_id")


def _bucket(price: pd.Series) -> pd.Series:
    return (np.log(price.astype(float)) / 0.05).round()


def _bid(bid_id: str, moment: datetime, **columns: object) -> dict[str, object]:
    features = {"internal_adspace_id": "odd", "geo_region_name": "Ohio", "os_code": "ios", "domain": "a.example"}
    row = {"bid_id": bid_id, "bid_ts": moment.replace(tzinfo=None), "object_id": 1334, "npi": "1", "bid_cpm": 2.5}
    return dict.fromkeys(BIDS_SCHEMA.names) | features | row | columns


def _rows(events: list[tuple], schema: pa.Schema) -> list[dict[str, object]]:
    plain = [(bid_id, moment.replace(tzinfo=None), *rest) for bid_id, moment, *rest in events]
    return [dict(zip(schema.names, row, strict=True)) for row in plain]
