import numpy as np
import pandas as pd
import pytest

from optimizer.core.landscape.logit import FULL_RANGE
from optimizer.core.pricing.multipliers import (
    DOMAIN_BOUNDS,
    MULTIPLIER_COLUMNS,
    NPI_BOUNDS,
    BidResponse,
    MultiplierBounds,
    bid_response,
    domain_effects,
    domain_multipliers,
    fit_gamma_prior,
    multiplier_link,
    normalise,
    npi_effects,
    npi_multipliers,
)

NO_PAST = {"multiplied_bids": 0, "log_multiplier_sum": 0.0}
WORTHLESS_CLICKS = BidResponse(to_price=0.3, to_click_rate=0.0)
ONLY_CLICKS = BidResponse(to_price=0.3, to_click_rate=0.7)


def with_click_views(npis: pd.DataFrame) -> pd.DataFrame:
    """Totals of professionals whose clicks have all arrived, and who were bid on without a multiplier."""
    return npis.assign(**NO_PAST, click_views=npis["wins"])


def domain_cells(
    seed: int, *, effect_sd: float, click_sd: float = 0.0, days: int = 28, domains: int = 60, bids: int = 120_000
) -> tuple[pd.DataFrame, np.ndarray]:
    """Cells by day and domain where the rivals' log price of a domain has this sd, and each effect.

    Domains also have a shock of their own each day, which is like that of the day before.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, domains + 1)
    domain, day = rng.choice(domains, bids, p=share / share.sum()), rng.integers(0, days, bids)
    effect, shock = rng.normal(0, effect_sd, domains), rng.normal(0, 0.1, (domains, days))
    shock[:, 1:] = 0.5 * shock[:, :-1] + shock[:, 1:]
    bid = 8 * np.exp(rng.normal(0, 0.2, bids))
    won = rng.random(bids) < 1 / (1 + np.exp(0.6 - 2.0 * (np.log(bid / 8) - effect[domain] - shock[domain, day])))
    rate = 0.004 * np.exp(rng.normal(0, click_sd, domains))
    log = pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(day, unit="D"),
            "domain": [f"{number:03d}.com" for number in domain],
            "price_bucket": np.round(np.log(bid) / 0.05).astype(int),
            "bids": 1,
            "wins": won.astype(int),
            "clicks": (won & (rng.random(bids) < rate[domain])).astype(int),
            "bid_cpm_sum": bid,
            "base_bid_cpm_sum": bid,
            **NO_PAST,
        }
    )
    return log.groupby(["day", "domain", "price_bucket"], as_index=False).sum(), effect


def test_the_gamma_prior_is_found_from_counts():
    rng = np.random.default_rng(0)
    views = rng.integers(20, 400, 6_000).astype(float)
    clicks = rng.poisson(rng.gamma(0.8, 0.005 / 0.8, 6_000) * views).astype(float)
    shape, rate = fit_gamma_prior(clicks, views)
    assert shape == pytest.approx(0.8, rel=0.2)
    assert shape / rate == pytest.approx(0.005, rel=0.1)


def test_npi_multipliers_have_mean_one_stay_in_bounds_and_follow_the_clicks():
    rng = np.random.default_rng(1)
    rate = rng.gamma(0.5, 0.01, 2_000)
    wins = rng.integers(1, 300, 2_000)
    npis = pd.DataFrame(
        {"npi": [f"9{n:09d}" for n in range(2_000)], "bids": wins * 3, "wins": wins, "clicks": rng.poisson(rate * wins)}
    )
    table = npi_multipliers(npi_effects(with_click_views(npis)), response=ONLY_CLICKS)
    assert np.average(table["multiplier"], weights=table["bids"]) == pytest.approx(1.0, abs=1e-6)
    assert table["multiplier"].between(NPI_BOUNDS.low, NPI_BOUNDS.high).all()
    assert (
        table.loc[table["clicks"] >= 5, "multiplier"].mean()
        > 1.3 * table.loc[table["clicks"] == 0, "multiplier"].mean()
    )


def test_without_clicks_every_npi_counts_the_same():
    npis = pd.DataFrame({"npi": ["9000000001", "9000000002"], "bids": [5, 900], "wins": [1, 300], "clicks": [0, 0]})
    assert npi_multipliers(npi_effects(with_click_views(npis)), response=ONLY_CLICKS)["multiplier"].tolist() == [
        1.0,
        1.0,
    ]


def test_clicks_that_earn_nothing_move_no_bid():
    rng = np.random.default_rng(1)
    npis = pd.DataFrame({"npi": [f"9{n:09d}" for n in range(500)], "bids": 900, "wins": 300})
    npis["clicks"] = rng.poisson(300 * rng.gamma(0.5, 0.02, 500))
    table = npi_multipliers(npi_effects(with_click_views(npis)), response=WORTHLESS_CLICKS)
    assert len(table) == 500 and set(table["multiplier"]) == {1.0}
    cells, _ = domain_cells(1, effect_sd=0.0, click_sd=1.0)
    assert set(domain_multipliers(domain_effects(cells, slope=2.0), response=WORTHLESS_CLICKS)["multiplier"]) == {1.0}


def test_a_few_clicks_do_not_make_npis_different():
    npis = pd.DataFrame({"npi": ["9000000001", "9000000002"], "bids": 9_000, "wins": 3_000, "clicks": [9, 4]})
    table = npi_multipliers(npi_effects(with_click_views(npis)), response=ONLY_CLICKS)
    assert set(table["multiplier"]) == {1.0}


def test_no_identified_professional_gives_an_empty_table():
    empty = pd.DataFrame(
        {
            "npi": pd.Series(dtype=str),
            "bids": pd.Series(dtype=int),
            "wins": pd.Series(dtype=int),
            "clicks": pd.Series(dtype=int),
            "multiplied_bids": pd.Series(dtype=int),
            "log_multiplier_sum": pd.Series(dtype=float),
        }
    )
    assert list(npi_multipliers(npi_effects(with_click_views(empty)), response=ONLY_CLICKS).columns) == [
        "npi",
        *MULTIPLIER_COLUMNS,
    ]


def test_a_domain_that_is_harder_to_win_gets_a_higher_multiplier_but_moves_no_further_than_is_certain():
    cells, effect = domain_cells(2, effect_sd=0.25)
    effects = domain_effects(cells, slope=2.0)
    table = domain_multipliers(effects, response=WORTHLESS_CLICKS).sort_values("domain")
    moved = np.log(table["multiplier"].to_numpy())
    ideal = WORTHLESS_CLICKS.to_price * (effect - np.average(effect, weights=table["bids"]))
    assert np.corrcoef(moved, ideal)[0, 1] > 0.8
    assert np.average(np.abs(moved) > np.abs(ideal) + 0.01, weights=table["bids"]) < 0.15
    assert np.average(table["multiplier"], weights=table["bids"]) == pytest.approx(1.0, abs=1e-6)
    assert table["multiplier"].between(DOMAIN_BOUNDS.low, DOMAIN_BOUNDS.high).all()


def test_domains_without_an_effect_hardly_move_a_bid_despite_shocks_of_a_few_days():
    moved = [
        domain_multipliers(domain_effects(domain_cells(seed, effect_sd=0.0)[0], slope=2.0), response=ONLY_CLICKS)[
            "multiplier"
        ]
        for seed in range(12)
    ]
    assert sum((table != 1).any() for table in moved) <= 2
    assert max((table - 1).abs().max() for table in moved) < 0.03


@pytest.mark.parametrize("days", [1, 4])
def test_a_few_days_show_no_lasting_effect_of_domains(days):
    cells, _ = domain_cells(3, effect_sd=0.3, days=days, bids=30_000)
    assert set(domain_multipliers(domain_effects(cells, slope=2.0), response=WORTHLESS_CLICKS)["multiplier"]) == {1.0}


def test_click_rates_move_a_bid_in_proportion_to_their_share_of_its_worth():
    bid = {"slope": 2.0, "win_rate": 0.3, "bid_cpm": 8.0}
    assert bid_response(**bid, click_value_cpm=0.0, view_value_cpm=5.0).to_click_rate == 0.0
    low, high = (bid_response(**bid, click_value_cpm=value, view_value_cpm=0.0).to_click_rate for value in (2.0, 4.0))
    assert high == pytest.approx(2 * low)
    clicks_alone = bid_response(**bid, click_value_cpm=100.0, view_value_cpm=0.0)
    assert clicks_alone.to_click_rate == pytest.approx((2 * 0.7 + 1) / 3)


def test_the_response_is_that_of_the_bid_with_the_largest_surplus():
    slope, worth = 2.0, 20.0
    grid = np.exp(np.linspace(0, 4, 400_001))

    def best(log_price: float, worth: float) -> float:
        return float(grid[np.argmax((worth - grid) / (1 + np.exp(-slope * (np.log(grid) - log_price))))])

    bid = best(2.5, worth)
    win_rate = 1 / (1 + np.exp(-slope * (np.log(bid) - 2.5)))
    found = bid_response(slope=slope, win_rate=win_rate, bid_cpm=bid, click_value_cpm=worth, view_value_cpm=0.0)
    assert found.to_price == pytest.approx(np.log(best(2.51, worth) / best(2.49, worth)) / 0.02, rel=0.02)
    by_worth = np.log(best(2.5, worth * 1.01) / best(2.5, worth / 1.01)) / (2 * np.log(1.01))
    assert found.to_click_rate == pytest.approx(by_worth, rel=0.02)


def test_an_unknown_slope_moves_nothing_and_a_second_price_follows_the_worth_alone():
    bid = {"slope": 2.0, "win_rate": 0.3, "bid_cpm": 8.0, "click_value_cpm": 4.0, "view_value_cpm": 0.0}
    assert bid_response(**bid, is_slope_known=False) == BidResponse(0.0, 0.0)
    assert bid_response(**bid, is_second_price=True) == BidResponse(0.0, 0.5)


def test_clipping_keeps_the_mean_at_one():
    raw, requests = np.array([0.01, 1.0, 50.0]), np.array([10.0, 100.0, 5.0])
    multiplier = normalise(raw, requests=requests, bounds=MultiplierBounds(0.7, 3.0))
    assert np.average(multiplier, weights=requests) == pytest.approx(1.0)
    assert multiplier.min() >= 0.7 and multiplier.max() <= 3.0


def test_the_link_shows_what_new_multipliers_win_where_old_ones_followed_the_rivals():
    rng = np.random.default_rng(8)
    effect = rng.normal(0, 0.35, 300)  # log price of rivals on each domain; old multipliers followed it fully
    new = np.exp(0.4 * effect + rng.normal(0, 0.1, 300))
    new /= new.mean()
    bids = rng.integers(50, 5_000, 300)
    table = pd.DataFrame(
        {"bids": bids, "multiplier": new, "multiplied_bids": bids, "log_multiplier_sum": bids * effect}
    )
    level = np.linspace(-3, 2, 6)
    single = 1 / (1 + np.exp(-(level[:, None] + 2.0 * (np.log(new) - effect))))
    link = multiplier_link([table], requests=float(bids.sum()), slope=2.0, tails=FULL_RANGE)
    assert link(level) == pytest.approx(single @ (bids / bids.sum()), abs=0.003)


def test_multipliers_that_stay_change_nothing():
    table = pd.DataFrame(
        {"bids": [400], "multiplier": [1.5], "multiplied_bids": [300], "log_multiplier_sum": [300 * np.log(1.5)]}
    )
    link = multiplier_link([table], requests=400.0, slope=2.0, tails=FULL_RANGE)
    assert link(np.array([-1.0, 0.5])) == pytest.approx(1 / (1 + np.exp([1.0, -0.5])))


def test_only_the_requests_with_a_multiplier_are_moved_by_it():
    npis = pd.DataFrame(
        {"bids": [400], "multiplier": [1.0], "multiplied_bids": [400], "log_multiplier_sum": [400 * 0.5]}
    )
    link = multiplier_link([npis], requests=1_000.0, slope=2.0, tails=FULL_RANGE)
    assert sorted(zip(link.shares.round(3), link.shifts.round(3), strict=True)) == [(0.4, -1.0), (0.6, 0.0)]


def test_a_row_that_was_not_met_lately_counts_as_unchanged_and_a_new_factor_as_new():
    rows = {"bids": [500, 500], "multiplier": [1.5, 1.5]}
    met = pd.DataFrame(rows | {"multiplied_bids": [10, 0], "log_multiplier_sum": [0.0, 0.0]})
    new = pd.DataFrame(rows | {"multiplied_bids": [0, 0], "log_multiplier_sum": [0.0, 0.0]})
    links = [multiplier_link([table], requests=1_000.0, slope=2.0, tails=FULL_RANGE) for table in (met, new)]
    assert sorted(links[0].shifts) == pytest.approx([0.0, 2 * np.log(1.5)])
    assert links[1](np.zeros(1)) == pytest.approx(1 / (1 + 1.5**-2.0))
