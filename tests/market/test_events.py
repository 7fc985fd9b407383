"""The log has the warehouse's columns, the history of its policies, and nothing that its settings do not say."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lab.market.auctions import draw_requests
from lab.market.data_quality import NULL_TOKENS, TYPICAL_DIRT, Dirt
from lab.market.epochs import Epoch, standard_epochs
from lab.market.events import generate_events, serve
from lab.market.outcome import expect_outcome
from lab.market.policies import BidTablePolicy, FlatPolicy, Prices, VisiblePolicy
from lab.market.presets import PRESETS
from lab.market.scenarios import with_scenario
from lab.market.tables import BIDS_SCHEMA, CLICKS_SCHEMA, VIEWS_SCHEMA, Events
from lab.market.world import World
from optimizer.errors import ConfigError

START_DAY = date(2026, 1, 5)
DAYS, BIDS = 30, 300_000
TABLES = ("bids", "views", "clicks")


def written(events: Events, folder: Path) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in events.write_parquet(folder).items()}


def epoch_bids(log: Events, number: int) -> pa.Table:
    """The flat (0), confounded (1) or jittered (2) third of the log's bids."""
    start, end = (
        datetime.combine(START_DAY, datetime.min.time()) + timedelta(days=10 * n) for n in (number, number + 1)
    )
    return log.bids.filter((pc.field("bid_ts") >= start) & (pc.field("bid_ts") < end))


def was_won(log: Events, bids: pa.Table) -> np.ndarray:
    return pc.is_in(bids["bid_id"], value_set=log.views["bid_id"].combine_chunks()).to_numpy()


def fit_logit(columns: list[np.ndarray], is_won: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method: the intercept and one coefficient a column."""
    design, weights = np.column_stack([np.ones(len(is_won)), *columns]), np.zeros(len(columns) + 1)
    for _ in range(12):
        p = 1 / (1 + np.exp(-design @ weights))
        weights += np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design, design.T @ (is_won - p))
    return weights


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path):
    def write(seed: int, folder: str) -> dict[str, bytes]:
        world = World.create(seed, settings=PRESETS["drugs_hcp"])
        events = generate_events(world, start_day=START_DAY, days=9, bids=20_000, dirt=TYPICAL_DIRT)
        return written(events, tmp_path / folder)

    first, again, other = write(1, "first"), write(1, "again"), write(2, "other")
    assert first == again
    assert all(first[name] != other[name] for name in TABLES)


def test_tables_have_the_warehouses_columns_and_are_written_in_row_groups(log: Events, tmp_path: Path):
    assert [log.bids.schema, log.views.schema, log.clicks.schema] == [BIDS_SCHEMA, VIEWS_SCHEMA, CLICKS_SCHEMA]
    files = log.write_parquet(tmp_path / "new" / "folder")
    assert pq.ParquetFile(files["bids"]).num_row_groups == 3
    assert pq.read_table(files["views"]).equals(log.views)


def test_bids_are_in_order_of_time_within_the_window_and_unique(log: Events):
    ts = log.bids["bid_ts"].to_numpy()
    assert len(log.bids) == BIDS
    assert (np.diff(ts) >= np.timedelta64(0)).all()
    assert ts[0] >= np.datetime64(START_DAY) and ts[-1] < np.datetime64(START_DAY + timedelta(days=DAYS))
    assert pc.count_distinct(log.bids["bid_id"]).as_py() == BIDS
    assert pc.unique(log.bids["object_id"]).to_pylist() == [1334]


def test_traffic_sleeps_at_night_and_rests_on_sundays(log: Events):
    hours = np.bincount(pc.hour(log.bids["bid_ts"]).to_numpy(), minlength=24)
    assert hours[8:12].sum() < hours[17:21].sum() / 3
    weekdays = np.bincount(pc.day_of_week(log.bids["bid_ts"]).to_numpy()[: BIDS * 28 // DAYS], minlength=7)
    assert weekdays[6] < weekdays[1]


def test_the_log_wins_near_thirty_percent_and_is_clicked_once_in_three_thousand_views(log: Events):
    assert len(log.views) / BIDS == pytest.approx(0.30, abs=0.03)
    assert len(log.clicks) / len(log.views) == pytest.approx(0.00035, abs=0.00025)


def test_each_epoch_has_the_columns_of_its_time(log: Events):
    flat, earlier, jittered = (epoch_bids(log, number) for number in range(3))
    parts = ("run_id", "base_bid_cpm", "domain_multiplier", "npi_multiplier")
    assert all(flat[name].null_count == len(flat) for name in parts)
    assert pc.count_distinct(flat["bid_cpm"]).as_py() == 1
    for bids in (earlier, jittered):
        assert all(bids[name].null_count == 0 for name in parts)
        base, domain, npi = (bids[name].to_numpy() for name in parts[1:])
        assert bids["bid_cpm"].to_numpy() == pytest.approx(base * domain * npi)
        assert pc.count_distinct(bids["run_id"]).as_py() == 10
        assert (domain.min(), domain.max()) >= (0.6, 1.0) and domain.max() <= 1.5
        assert npi.min() >= 0.7 and npi.max() <= 3.0
    assert earlier["run_id"][0].as_py() == "20260115_030000"


def test_unknown_visitors_have_no_npi_and_known_ones_a_fake_one(log: Events):
    npis = log.bids["npi"]
    assert npis.null_count / BIDS == pytest.approx(0.60, abs=0.01)
    assert pc.all(pc.match_substring_regex(npis.drop_null(), r"^9\d{9}$")).as_py()


def test_first_price_costs_the_bid_and_second_price_the_rival(world: World):
    second = World.create(7, settings=replace(world.settings, auction_type="second_price"))
    for each, is_first in ((world, True), (second, False)):
        events = generate_events(each, start_day=START_DAY, days=1, bids=5_000, epochs=[Epoch(FlatPolicy(12.0), 1)])
        cost = events.views["cost_cpm"].to_numpy()
        assert (cost == 12.0).all() == is_first
        assert cost.min() > 0 and cost.max() <= 12.0


def test_only_an_ssp_that_passes_floors_shows_them_and_no_view_is_below_one(log: Events):
    assert log.bids["floor_cpm"].null_count == BIDS
    world = World.create(2, settings=PRESETS["nativo_consumer"])
    events = generate_events(world, start_day=START_DAY, days=3, bids=10_000)
    assert events.bids["floor_cpm"].null_count == 0
    won = was_won(events, events.bids)
    bid, floor = (events.bids[name].to_numpy() for name in ("bid_cpm", "floor_cpm"))
    assert (bid[won] >= floor[won]).all() and (bid[~won] < floor[~won]).any()
    assert pc.unique(events.views["revenue"]).to_pylist() == [world.view_revenue]
    assert world.click_revenue == 0 and world.view_revenue > 0


def test_the_confounded_slope_is_flat_and_the_jitter_finds_the_true_one(world: World, log: Events):
    earlier, jittered = epoch_bids(log, 1), epoch_bids(log, 2)
    _, naive = fit_logit([np.log(earlier["bid_cpm"].to_numpy())], was_won(log, earlier))

    segment = world.find_segments({name: jittered[name].to_pylist() for name in world.segments.column_names[:3]})
    plan = standard_epochs(world, start_day=START_DAY, days=DAYS)[2].policy.planned.base_bids(
        world, day_numbers=np.array([0])
    )[0]
    level = world.win_probability(bid_cpm=plan, day=START_DAY + timedelta(days=25))[segment]
    jitter = np.log(jittered["base_bid_cpm"].to_numpy() / plan[segment])
    _, _, identified = fit_logit([np.log(level / (1 - level)), jitter], was_won(log, jittered))

    truth = world.true_slope(bid_cpm=plan, day=START_DAY + timedelta(days=25))[segment].mean()
    assert np.abs(jitter).max() < 0.25
    assert naive < 0.4 * truth
    assert identified == pytest.approx(truth, abs=0.45)


@pytest.mark.parametrize("switch", [field.name for field in fields(Dirt)])
def test_a_dirt_switch_adds_what_it_says_and_nothing_else(world: World, switch: str):
    def generate(dirt: Dirt) -> Events:
        return generate_events(world, start_day=START_DAY, days=9, bids=30_000, dirt=dirt)

    clean, dirty = generate(Dirt()), generate(Dirt(**{switch: 0.05}))
    added_bids, added_views = len(dirty.bids) - len(clean.bids), len(dirty.views) - len(clean.views)
    expected_views = round(0.05 * len(clean.views))
    assert added_bids == (1_500 if switch == "zero_bids" else 0)
    assert added_views == (expected_views if switch in {"duplicated_views", "views_without_bid"} else 0)
    assert dirty.clicks.num_rows == clean.clicks.num_rows

    changed = {
        f"{name}.{column}"
        for name in TABLES
        for column in getattr(clean, name).column_names
        if not getattr(dirty, name)[column].slice(0, len(getattr(clean, name))).equals(getattr(clean, name)[column])
    }
    tokens = {f"bids.{name}" for name in BIDS_SCHEMA.names[4:10]}
    allowed = {"late_events": {"views.view_ts", "clicks.click_ts"}, "null_tokens": tokens}
    assert changed <= allowed.get(switch, set())
    assert bool(changed) == (switch in allowed)


def test_each_kind_of_dirt_is_what_its_name_says(world: World):
    clean = generate_events(world, start_day=START_DAY, days=9, bids=30_000)
    dirty = generate_events(world, start_day=START_DAY, days=9, bids=30_000, dirt=TYPICAL_DIRT)
    known = clean.bids["bid_id"].combine_chunks()
    views = len(clean.views)
    is_orphan = pc.invert(pc.is_in(dirty.views["bid_id"], value_set=known)).to_numpy()
    assert is_orphan.sum() == round(0.01 * views)
    assert pc.count_distinct(dirty.views["bid_id"]).as_py() == views + is_orphan.sum()

    zero = dirty.bids.slice(len(clean.bids))
    assert pc.unique(zero["bid_cpm"]).to_pylist() == [0.0]
    delay = pc.subtract(dirty.views["view_ts"].slice(0, views), clean.views["view_ts"]).to_numpy()
    late = delay[delay > np.timedelta64(0)]
    assert len(late) == round(0.02 * views) and late.min() >= np.timedelta64(1, "h")
    token = pc.is_in(dirty.bids["os_code"].slice(0, len(clean.bids)), value_set=pa.array(NULL_TOKENS))
    assert 10 < pc.sum(token).as_py() < 60


def test_clicks_come_late_where_the_settings_say_so_and_a_log_ends_where_it_was_cut():
    settings = replace(PRESETS["drugs_hcp"], click_rate=0.05)
    prompt, late = (
        generate_events(World.create(7, settings=each), start_day=START_DAY, days=9, bids=60_000)
        for each in (settings, replace(settings, click_delay_hours=20.0))
    )
    assert (late.bids, late.views) == (prompt.bids, prompt.views)
    assert late.clicks["bid_id"] == prompt.clicks["bid_id"]
    seen = late.views.to_pandas().set_index("bid_id")["view_ts"]
    clicked = late.clicks.to_pandas().set_index("bid_id")["click_ts"]
    hours = (clicked - seen[clicked.index]) / pd.Timedelta(hours=1)
    assert len(hours) > 500 and hours.mean() == pytest.approx(20, rel=0.1) and (hours < 20).mean() > 0.55
    cut = late.until(datetime(2026, 1, 12, tzinfo=UTC))
    assert cut.bids["bid_ts"].to_pandas().max() < pd.Timestamp("2026-01-12")
    assert 0.5 * len(prompt.clicks) < len(cut.clicks) < len(prompt.until(datetime(2026, 1, 12, tzinfo=UTC)).clicks)


def test_a_floor_chasing_ssp_wins_back_what_was_bid_above_it():
    steady = PRESETS["nativo_consumer"]
    chasing = with_scenario(steady, name="floor_chasing", change_day=3)
    calm, chased = (
        generate_events(
            World.create(2, settings=settings),
            start_day=START_DAY,
            days=6,
            bids=30_000,
            epochs=[Epoch(FlatPolicy(3.0), 2), Epoch(FlatPolicy(4.0), 4)],
        )
        for settings in (steady, chasing)
    )
    floors = [events.bids["floor_cpm"].to_numpy() for events in (calm, chased)]
    day = (chased.bids["bid_ts"].to_numpy() - np.datetime64(START_DAY)) // np.timedelta64(1, "D")
    assert (floors[0][day < 3] == floors[1][day < 3]).all()
    assert (floors[1][day >= 3] >= 0.85 * 4.0).all()


def test_a_world_of_flat_bids_has_one_price():
    settings = with_scenario(PRESETS["drugs_com"], name="flat_bids")
    events = generate_events(World.create(2, settings=settings), start_day=START_DAY, days=9, bids=5_000)
    assert pc.count_distinct(events.bids["bid_cpm"]).as_py() == 1
    assert events.bids["run_id"].null_count == 5_000


def test_a_bid_table_is_served_by_key_with_multipliers_and_fallback(world: World):
    requests = draw_requests(world, start_day=START_DAY + timedelta(days=40), days=1, count=20_000)
    domain, npi = world.domains.names[0], world.visitors.npis[int(requests.npi.max())]
    table = BidTablePolicy(
        bids={"New York/ios": 20.0, "Texas/android": 5.0},
        features=("geo_region_name", "os_code"),
        fallback_bid_cpm=9.0,
        domain_multipliers={domain: 1.5},
        npi_multipliers={npi: 2.0},
        run_id="20260214_030000",
        spell_key="/".join,
    )
    bids = serve(world, requests, policy=table).bids.to_pylist()
    assert len(bids) == 20_000
    for bid in bids:
        base = table.bids.get(f"{bid['geo_region_name']}/{bid['os_code']}", 9.0)
        factors = (1.5 if bid["domain"] == domain else 1.0, 2.0 if bid["npi"] == npi else 1.0)
        assert (bid["base_bid_cpm"], bid["domain_multiplier"], bid["npi_multiplier"]) == (base, *factors)
        assert bid["bid_cpm"] == pytest.approx(base * factors[0] * factors[1])
        assert bid["run_id"] == "20260214_030000"


def test_a_table_without_fallback_bids_only_on_its_keys(world: World):
    requests = draw_requests(world, start_day=START_DAY, days=1, count=20_000)
    table = BidTablePolicy(bids={"Ohio": 500.0}, features=("geo_region_name",), fallback_bid_cpm=None)
    events = serve(world, requests, policy=table)
    assert set(events.bids["geo_region_name"].to_pylist()) == {"Ohio"}
    assert len(events.views) / len(events.bids) == pytest.approx(0.97, abs=0.02)
    outcome = expect_outcome(world, requests, prices=table.price(world, requests))
    assert outcome.wins == pytest.approx(len(events.views), rel=0.05)


def test_a_bidder_is_plugged_in_as_a_function_of_what_it_sees(world: World):
    requests = draw_requests(world, start_day=START_DAY, days=1, count=5_000)

    def price_table(visible: pa.Table) -> Prices:
        assert visible.column_names[-1] == "floor_cpm" and len(visible) == 5_000
        return Prices(np.where(pc.equal(visible["os_code"], "ios").to_numpy(), 15.0, np.nan))

    events = serve(world, requests, policy=VisiblePolicy(price_table))
    assert set(events.bids["os_code"].to_pylist()) == {"ios"}


def test_two_policies_meet_the_same_requests(world: World):
    logs = [
        generate_events(world, start_day=START_DAY, days=2, bids=5_000, epochs=[Epoch(FlatPolicy(bid), 2)])
        for bid in (8.0, 16.0)
    ]
    assert logs[0].bids.drop_columns("bid_cpm").equals(logs[1].bids.drop_columns("bid_cpm"))
    cheap, dear = (set(each.views["bid_id"].to_pylist()) for each in logs)
    assert cheap < dear


def test_epochs_that_do_not_cover_the_days_are_refused(world: World):
    with pytest.raises(ConfigError, match="cover 2 days and the log has 3"):
        generate_events(world, start_day=START_DAY, days=3, bids=10, epochs=[Epoch(FlatPolicy(1.0), 2)])


def test_an_empty_log_is_refused(world: World):
    with pytest.raises(ConfigError, match="0 bids in 3 days"):
        generate_events(world, start_day=START_DAY, days=3, bids=0)
