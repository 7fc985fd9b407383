import numpy as np
import pandas as pd
import pytest

from optimizer.core.multipliers import (
    DOMAIN_BOUNDS,
    MULTIPLIER_COLUMNS,
    NPI_BOUNDS,
    Bounds,
    domain_multipliers,
    fit_gamma_prior,
    multiplier_link,
    normalise,
    npi_multipliers,
)

NO_PAST = {"multiplied_bids": 0, "log_multiplier_sum": 0.0}


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
    table = npi_multipliers(npis.assign(**NO_PAST))
    assert np.average(table["multiplier"], weights=table["bids"]) == pytest.approx(1.0, abs=1e-6)
    assert table["multiplier"].between(NPI_BOUNDS.low, NPI_BOUNDS.high).all()
    assert (
        table.loc[table["clicks"] >= 5, "multiplier"].mean()
        > 1.5 * table.loc[table["clicks"] == 0, "multiplier"].mean()
    )


def test_without_clicks_every_npi_counts_the_same():
    npis = pd.DataFrame({"npi": ["9000000001", "9000000002"], "bids": [5, 900], "wins": [1, 300], "clicks": [0, 0]})
    assert npi_multipliers(npis.assign(**NO_PAST))["multiplier"].tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_nobody_identified_gives_an_empty_table():
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
    assert list(npi_multipliers(empty).columns) == ["npi", *MULTIPLIER_COLUMNS]


def test_a_domain_that_is_harder_to_win_gets_a_higher_multiplier():
    buckets = np.arange(30, 50)
    rows = []
    for domain, share in (("easy.com", 0.6), ("hard.com", 0.2)):
        for bucket in buckets:
            rows.append(
                {
                    "day": pd.Timestamp("2026-01-05"),
                    "domain": domain,
                    "price_bucket": bucket,
                    "bids": 500,
                    "wins": int(500 * min(0.95, share * bucket / 40)),
                    "clicks": 0,
                    "bid_cpm_sum": 500 * np.exp(bucket * 0.05),
                    "base_bid_cpm_sum": np.nan,
                    **NO_PAST,
                }
            )
    table = domain_multipliers(pd.DataFrame(rows), slope=2.0).set_index("domain")["multiplier"]
    assert table["hard.com"] > 1.0 > table["easy.com"]
    assert table.between(DOMAIN_BOUNDS.low, DOMAIN_BOUNDS.high).all()


def test_clipping_keeps_the_mean_at_one():
    raw, requests = np.array([0.01, 1.0, 50.0]), np.array([10.0, 100.0, 5.0])
    multiplier = normalise(raw, requests=requests, bounds=Bounds(0.7, 3.0))
    assert np.average(multiplier, weights=requests) == pytest.approx(1.0)
    assert multiplier.min() >= 0.7 and multiplier.max() <= 3.0


def test_the_link_tells_what_new_multipliers_win_where_old_ones_followed_the_rivals():
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
    link = multiplier_link([table], requests=float(bids.sum()), slope=2.0, unrivalled_share=0.0)
    assert link(level) == pytest.approx(single @ (bids / bids.sum()), abs=0.003)


def test_multipliers_that_stay_change_nothing():
    table = pd.DataFrame(
        {"bids": [400], "multiplier": [1.5], "multiplied_bids": [300], "log_multiplier_sum": [300 * np.log(1.5)]}
    )
    link = multiplier_link([table], requests=400.0, slope=2.0, unrivalled_share=0.0)
    assert link(np.array([-1.0, 0.5])) == pytest.approx(1 / (1 + np.exp([1.0, -0.5])))


def test_only_the_requests_with_a_multiplier_are_moved_by_it():
    npis = pd.DataFrame(
        {"bids": [400], "multiplier": [1.0], "multiplied_bids": [400], "log_multiplier_sum": [400 * 0.5]}
    )
    link = multiplier_link([npis], requests=1_000.0, slope=2.0, unrivalled_share=0.0)
    assert sorted(zip(link.shares.round(3), link.shifts.round(3), strict=True)) == [(0.4, -1.0), (0.6, 0.0)]


def test_a_row_that_was_not_met_lately_counts_as_unchanged_and_a_new_factor_as_new():
    rows = {"bids": [500, 500], "multiplier": [1.5, 1.5]}
    met = pd.DataFrame(rows | {"multiplied_bids": [10, 0], "log_multiplier_sum": [0.0, 0.0]})
    new = pd.DataFrame(rows | {"multiplied_bids": [0, 0], "log_multiplier_sum": [0.0, 0.0]})
    links = [multiplier_link([table], requests=1_000.0, slope=2.0, unrivalled_share=0.0) for table in (met, new)]
    assert sorted(links[0].shifts) == pytest.approx([0.0, 2 * np.log(1.5)])
    assert links[1](np.zeros(1)) == pytest.approx(1 / (1 + 1.5**-2.0))
