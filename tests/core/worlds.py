"""Small logs with known truth, as cells."""

import numpy as np
import pandas as pd
from scipy.special import expit


def logistic_cells(
    seed: int, *, bids: int = 60_000, days: int = 30, noise_values: int = 50, slope: float = 3.0
) -> pd.DataFrame:
    """Cells of auctions won with P = sigmoid(level + slope log(bid / 8)); adspace and region matter, noise does not."""
    rng = np.random.default_rng(seed)
    adspace, region = rng.integers(0, 8, bids), rng.integers(0, 12, bids)
    noise = rng.zipf(1.3, bids) % noise_values
    level = -0.5 + np.linspace(-1.2, 1.2, 8)[adspace] + np.linspace(-0.8, 0.8, 12)[region]
    bid = 8 * np.exp(rng.normal(0, 0.3, bids))
    won = rng.random(bids) < expit(level + slope * np.log(bid / 8))
    clicked = won & (rng.random(bids) < 0.004 * (1 + (adspace == 3)))
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.integers(0, days, bids), unit="D"),
            "adspace": spell("a", adspace),
            "region": spell("r", region),
            "noise": spell("n", noise),
            "price_bucket": np.round(np.log(bid) / 0.05).astype(int),
            "base_price_bucket": np.round(np.log(bid) / 0.05).astype(int),
            "bids": 1,
            "wins": won.astype(int),
            "clicks": clicked.astype(int),
            "bid_cpm_sum": bid,
            "base_bid_cpm_sum": bid,
            "cost_cpm_sum": bid * won,
            "view_revenue": 0.0,
            "click_revenue": 5.0 * clicked,
            "floor_cpm_max": np.nan,
        }
    )


def misleading_cells(seed: int, *, bids: int = 40_000, days: int = 15, slope: float = 2.0) -> pd.DataFrame:
    """Cells of a log in which region and os matter, and four features seem to.

    The market drifts and moves by adspace and day, visitors differ in what nobody logs, and no bid has jitter.

    browser: goes with the os. set_bids: an earlier run set its bids by it. version: its mix moves with the time.
    noise: 5,000 random values.
    """
    rng = np.random.default_rng(seed)
    adspace, region, day = rng.integers(0, 8, bids), rng.integers(0, 6, bids), rng.integers(0, days, bids)
    os = rng.choice(4, bids, p=[0.5, 0.3, 0.15, 0.05])
    browser = np.where(rng.random(bids) < 0.6, 2 * os, rng.integers(0, 8, bids))
    set_bids, version = rng.integers(0, 8, bids), (rng.random(bids) < (day + 1) / (days + 1)).astype(int)
    shocks = rng.normal(0, 0.15, (8, days)).cumsum(axis=1)[adspace, day] / 2 + np.linspace(0, 0.4, days)[day]
    rivals = (
        rng.normal(0, 0.4, 8)[adspace] + rng.normal(0, 0.3, 6)[region] + rng.permutation([-0.4, -0.1, 0.1, 0.4])[os]
    )
    bid = 8 * np.exp(0.7 * rng.normal(0, 0.4, 8)[adspace] + rng.normal(0, 0.2, (8, 8))[adspace, set_bids])
    quality = rng.normal(0, 0.4, bids)
    won = rng.random(bids) < 0.97 * expit(-0.4 + slope * (np.log(bid / 8) - rivals - shocks - quality))
    features = {"adspace": adspace, "region": region, "os": os, "browser": browser}
    features |= {"set_bids": set_bids, "version": version, "noise": rng.integers(0, 5_000, bids)}
    bucket = np.round(np.log(bid) / 0.05).astype(int)
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(day, unit="D"),
            **{name: spell(name[0], values) for name, values in features.items()},
            "price_bucket": bucket,
            "base_price_bucket": bucket,
            "bids": 1,
            "wins": won.astype(int),
            "clicks": 0,
            "bid_cpm_sum": bid,
            "base_bid_cpm_sum": bid,
            "cost_cpm_sum": bid * won,
            "view_revenue": 0.0,
            "click_revenue": 0.0,
            "floor_cpm_max": np.nan,
        }
    )


def confounded_cells(seed: int, *, bids: int = 150_000, jitter_sd: float = 0.1, slope: float = 2.0) -> pd.DataFrame:
    """Cells of a log that bid high where rivals do: base bids follow the adspace, multipliers follow the visitor.

    P(win) = sigmoid(level + slope log bid), level = -slope (rivals' price of adspace and visitor); base bids carry a
    jitter for each adspace, region and day.
    """
    rng = np.random.default_rng(seed)
    adspace, region, day = rng.integers(0, 8, bids), rng.integers(0, 12, bids), rng.integers(0, 21, bids)
    rivals, quality = np.linspace(-0.8, 0.8, 8)[adspace], rng.normal(0, 0.4, bids)
    jitter = 1 + jitter_sd * rng.normal(size=(8, 12, 21)).clip(-2, 2)[adspace, region, day]
    base = np.round(8 * np.exp(0.8 * rivals) * jitter, 2)
    final = base * np.exp(0.8 * quality)
    won = rng.random(bids) < expit(-0.6 - slope * (rivals + quality) + slope * np.log(final / 8))
    return pd.DataFrame(
        {
            "day": pd.Timestamp("2026-01-05") + pd.to_timedelta(day, unit="D"),
            "adspace": spell("a", adspace),
            "region": spell("r", region),
            "price_bucket": np.round(np.log(final) / 0.05).astype(int),
            "base_price_bucket": np.round(np.log(base) / 0.05).astype(int),
            "bids": 1,
            "wins": won.astype(int),
            "clicks": 0,
            "bid_cpm_sum": final,
            "base_bid_cpm_sum": base,
            "cost_cpm_sum": final * won,
            "view_revenue": 0.0,
            "click_revenue": 0.0,
            "floor_cpm_max": np.nan,
        }
    )


def spell(letter: str, numbers: np.ndarray) -> pd.api.extensions.ExtensionArray:
    """The letter and each number, as the warehouse's text: each distinct one is spelled once."""
    return pd.Series([f"{letter}{number}" for number in range(numbers.max() + 1)], dtype="str").take(numbers).array


def true_level(segments: pd.DataFrame) -> np.ndarray:
    """The level of each segment in the world of `logistic_cells`, at a bid of 8."""
    adspace = segments["adspace"].str[1:].astype(int)
    region = segments["region"].str[1:].astype(int)
    return -0.5 + np.linspace(-1.2, 1.2, 8)[adspace] + np.linspace(-0.8, 0.8, 12)[region]
