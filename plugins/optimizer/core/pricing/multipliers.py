"""Multipliers of domains and of identified professionals (NPI): how far a bid is certain to gain by moving.

What is not certain moves no bid: an effect counts as far as the bound of its posterior that is nearest to no effect,
and only where effects clearly differ at all. A multiplier then moves the bid as far as the best bid follows the effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.special import gammaln

from optimizer.core.distributions import gamma_quantile
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.landscape.curves import Link
from optimizer.core.landscape.feature_signal import ONE_SIDED_95, remove_price
from optimizer.core.landscape.logit import Tails

LINK_ATOMS = 9
"""The number of values that stand for the distribution of what multipliers do to the logit of a request."""

CLEAR_Z = 2.33
"""Effects of domains on the win rate count where their variance is this many standard errors above 0 (1 %)."""

CLEAR_LIKELIHOOD_RATIO = 5.41
"""Click rates count as different where twice the gain in log-likelihood exceeds this: 1 % of a variance at 0."""

DAYS_APART = 3
"""Only an effect that is equal on days this far apart is a lasting effect."""

LEAST_DAY_PAIRS = 10


@dataclass(frozen=True, slots=True)
class MultiplierBounds:
    """Least and largest multiplier."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BidResponse:
    """The exponents by which the best bid follows what is known of a request: 1 would be in proportion.

    to_price: to the rivals' price; to_click_rate: to the click rate.
    """

    to_price: float
    to_click_rate: float


MULTIPLIER_COLUMNS = ("multiplier", "bids", "views", "clicks", "multiplied_bids", "log_multiplier_sum")
"""The new multiplier, the evidence, and how many bids had which sum of log multipliers before."""

_SOURCES = {
    "bids": "bids",
    "views": "wins",
    "clicks": "clicks",
    "multiplied_bids": "multiplied_bids",
    "log_multiplier_sum": "log_multiplier_sum",
}
"""Column of the evidence: column of the log's totals."""

_SUMMED = (*_SOURCES.values(), "click_views")
"""Columns that add up over days; click_views is of `click_delay.count_click_views`."""

EFFECT_COLUMNS = ("price_effect", "click_effect", *_SOURCES)
"""What a log is certain to show of each row, whatever is bid: logs of the price that the same win rate takes over the
mean price, and of the click rate over the mean click rate; and the evidence.
"""

NPI_BOUNDS = MultiplierBounds(0.7, 3.0)
DOMAIN_BOUNDS = MultiplierBounds(0.6, 1.5)


def bid_response(
    *,
    slope: float,
    win_rate: float,
    bid_cpm: float,
    click_value_cpm: float,
    view_value_cpm: float,
    is_slope_known: bool = True,
    is_second_price: bool = False,
) -> BidResponse:
    """Return how the bid b that maximizes (worth - b) F(b) follows a request's price and click rate.

    With F logistic in log b, worth = b (1 + 1 / (slope (1 - F))). Its derivatives give the exponents
    slope F / (slope + 1) for the price and (slope (1 - F) + 1) / (slope + 1) for the worth. A click rate changes the
    worth only by the share that clicks have of it. In a second-price auction the best bid is the worth, whatever the
    price.

    Args:
        slope: logit units per unit of log bid; win_rate, bid_cpm: usual so far; they show what a win is worth.
        click_value_cpm, view_value_cpm: what clicks and views earn by a thousand wins, as far as it may be spent.
        is_slope_known: without a slope nothing is known of prices, and worth is what is earned.
    """
    if not is_slope_known or slope <= 0:
        return BidResponse(0.0, 0.0)
    worth_of_bid = bid_cpm if is_second_price else bid_cpm * (1 + 1 / (slope * (1 - win_rate)))
    worth = max(worth_of_bid, click_value_cpm + view_value_cpm)
    share = click_value_cpm / worth if worth > 0 else 0.0
    if is_second_price:
        return BidResponse(0.0, share)
    return BidResponse(slope * win_rate / (slope + 1), share * (slope * (1 - win_rate) + 1) / (slope + 1))


def npi_effects(npis: pd.DataFrame) -> pd.DataFrame:
    """Return `npi` and `EFFECT_COLUMNS` of each identified professional.

    Args:
        npis: totals by npi and day, with the columns npi and those of _SUMMED.
    """
    sums = npis.groupby("npi", sort=True)[list(_SUMMED)].sum().reset_index()
    rates = certain_click_effects(sums["clicks"].to_numpy(float), sums["click_views"].to_numpy(float))
    return _effects(sums, "npi", price_effect=np.zeros(len(sums)), click_effect=rates)


def domain_effects(domains: pd.DataFrame, *, slope: float | None) -> pd.DataFrame:
    """Return `domain` and `EFFECT_COLUMNS` of each domain.

    Args:
        domains: cells by day, domain and price bucket.
        slope: logit units per unit of log bid; None where it is not known, and with it no price effect.
    """
    cells = prepare_cells(domains, [])
    sums = cells.groupby("domain", sort=True)[list(_SUMMED)].sum().reset_index()
    price_effect = np.zeros(len(sums))
    if slope is not None:
        price_effect = -certain_win_effects(remove_price(cells, slope=slope)) / slope
    rates = certain_click_effects(sums["clicks"].to_numpy(float), sums["click_views"].to_numpy(float))
    return _effects(sums, "domain", price_effect=price_effect, click_effect=rates)


def npi_multipliers(effects: pd.DataFrame, *, response: BidResponse) -> pd.DataFrame:
    """Return `npi` and `MULTIPLIER_COLUMNS` of each identified professional, in the order of `npi_effects`."""
    return _multipliers(effects, "npi", response=response, bounds=NPI_BOUNDS)


def domain_multipliers(effects: pd.DataFrame, *, response: BidResponse) -> pd.DataFrame:
    """Return `domain` and `MULTIPLIER_COLUMNS` of each domain, in the order of `domain_effects`.

    A domain on which the same bid wins less often needs a higher bid, and one that is clicked more is worth one.
    """
    return _multipliers(effects, "domain", response=response, bounds=DOMAIN_BOUNDS)


def certain_win_effects(priced: pd.DataFrame) -> np.ndarray:
    """Return how much each domain is certain to raise or lower the logit of the win rate, in the order of the domains.

    Chance and shocks of a day or two are noise: the variance of effects is the covariance of days at least `DAYS_APART`
    days apart, and it has to be clearly above 0. Days have levels of their own.

    Args:
        priced: cells of `remove_price` by day and domain.
    """
    domain, domains = pd.factorize(priced["domain"], sort=True)
    day, days = pd.factorize(priced["day"], sort=True)
    shape = (len(domains), len(days))
    expected, bids = priced["expected"].to_numpy(float), priced["bids"].to_numpy(float)
    cell = np.ravel_multi_index((domain, day), shape)
    score, information = (
        np.bincount(cell, column, minlength=shape[0] * shape[1]).reshape(shape)
        for column in (priced["wins"].to_numpy(float) - bids * expected, bids * expected * (1 - expected))
    )
    score = score - information * (score.sum(axis=0) / np.maximum(information.sum(axis=0), 1e-12))
    apart = np.abs(np.subtract.outer(days.to_numpy(), days.to_numpy())) >= np.timedelta64(DAYS_APART, "D")
    together, pairs = (score.T @ score)[apart], (information.T @ information)[apart]
    error = np.sqrt(2 * (together**2).sum())  # each pair of days is there twice
    if len(pairs) < 2 * LEAST_DAY_PAIRS or together.sum() <= CLEAR_Z * error:
        return np.zeros(len(domains))
    variance = together.sum() / pairs.sum()
    noise = max(1.0, ((score**2).sum() - variance * (information**2).sum()) / information.sum())
    total = information.sum(axis=1)
    mean = variance * score.sum(axis=1) / (noise + variance * total)
    spread = np.sqrt(variance * noise / (noise + variance * total))
    return np.sign(mean) * np.maximum(np.abs(mean) - ONE_SIDED_95 * spread, 0.0)


def certain_click_effects(clicks: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Return the log of how much each click rate is certain to be above or below the mean, shape (n,).

    Clicks ~ Poisson(rate x views) with a gamma prior by maximum likelihood; 0 where rates do not clearly differ.
    """
    if clicks.sum() < 2:
        return np.zeros(len(clicks))
    shape, rate = fit_gamma_prior(clicks, views)
    mean = shape / rate
    gain = _log_likelihood(clicks, views, shape=shape, mean=mean) - _log_likelihood(clicks, views, shape=1e6, mean=mean)
    if 2 * gain <= CLEAR_LIKELIHOOD_RATIO:
        return np.zeros(len(clicks))
    low, high = (
        np.log(gamma_quantile(share, shape=clicks + shape, rate=views + rate) / mean + 1e-300) for share in (0.05, 0.95)
    )
    return np.maximum(low, 0.0) + np.minimum(high, 0.0)


def multiplier_link(tables: Sequence[pd.DataFrame], *, requests: float, slope: float, tails: Tails) -> Link:
    """Return what new multipliers make of base bids, as shifts of the logit on single requests.

    A segment's curve is that of its base bid with the multipliers of the latest days. The bid on a request changes by
    its new multiplier over its old one; where none changes the link is the logistic function.

    Args:
        tables: of domains and NPIs with `MULTIPLIER_COLUMNS`; each factor is independent of the others.
        requests: all bids of the window; those in no row of a table keep the multiplier 1.
        slope: logit units per unit of log bid.
        tails: ends of the win-rate curve.
    """
    shifts, shares = np.zeros(1), np.ones(1)
    for table in tables:
        own, weight = _condense(*_request_shifts(table, requests, slope), LINK_ATOMS)
        shifts, shares = np.add.outer(shifts, own).ravel(), np.multiply.outer(shares, weight).ravel()
        shifts, shares = _condense(shifts, shares, LINK_ATOMS)
    return Link(shifts, shares, tails)


def _request_shifts(table: pd.DataFrame, requests: float, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """Shift of the logit and share of requests of each row, and of the requests in no row, whose multiplier stays 1.

    Where earlier runs had the factor, a row that they did not meet lately counts as unchanged.
    """
    bids, known = table["bids"].to_numpy(float), table["multiplied_bids"].to_numpy(float)
    new = np.log(table["multiplier"].to_numpy(float))
    unknown = new if known.sum() > 0 else np.zeros(len(table))
    past = np.divide(table["log_multiplier_sum"].to_numpy(float), known, out=unknown.copy(), where=known > 0)
    total = max(requests, bids.sum(), 1.0)
    return np.append(slope * (new - past), 0.0), np.append(bids, max(0.0, total - bids.sum())) / total


def _condense(shifts: np.ndarray, shares: np.ndarray, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """The distribution by at most this many values: the means of slices of equal mass."""
    order = np.argsort(shifts, kind="stable")
    mass = np.cumsum(shares[order])
    slice_of = np.minimum((atoms * (mass - shares[order] / 2) / mass[-1]).astype(int), atoms - 1)
    total = np.bincount(slice_of, shares[order], minlength=atoms)
    sums = np.bincount(slice_of, (shares * shifts)[order], minlength=atoms)
    return sums[total > 0] / total[total > 0], total[total > 0] / total.sum()


def fit_gamma_prior(counts: np.ndarray, exposures: np.ndarray) -> tuple[float, float]:
    """Return shape and rate of the gamma prior under which the counts are likeliest (negative binomial).

    Without any count the prior is so strong that every posterior equals the mean.
    """
    total, exposure = counts.sum(), max(1.0, exposures.sum())
    mean = max(total, 0.5) / exposure

    if total < 2:
        return 1e6, 1e6 / mean

    def loss(log_shape: np.ndarray) -> float:
        return -_log_likelihood(counts, exposures, shape=float(np.exp(log_shape[0])), mean=mean)

    best = minimize(
        loss,
        x0=[0.0],
        bounds=[(float(np.log(1e-3)), float(np.log(1e6)))],
        method="L-BFGS-B",
    )
    shape = float(np.exp(best.x[0]))
    return shape, shape / mean


def _log_likelihood(counts: np.ndarray, exposures: np.ndarray, *, shape: float, mean: float) -> float:
    rate = shape / mean
    return float(
        (
            gammaln(counts + shape)
            - gammaln(shape)
            + shape * np.log(rate)
            - (counts + shape) * np.log(rate + exposures)
        ).sum()
    )


def normalise(raw: np.ndarray, *, requests: np.ndarray, bounds: MultiplierBounds) -> np.ndarray:
    """Return the multipliers scaled and clipped so that their request-weighted mean is one and all lie in bounds."""

    if (raw == 1).all():
        return np.ones(len(raw))

    def excess(log_scale: float) -> float:
        return float(np.average(np.clip(raw * np.exp(log_scale), bounds.low, bounds.high), weights=requests)) - 1.0

    return np.clip(raw * np.exp(brentq(excess, -20.0, 20.0)), bounds.low, bounds.high)


def _effects(rows: pd.DataFrame, key: str, *, price_effect: np.ndarray, click_effect: np.ndarray) -> pd.DataFrame:
    """The evidence of each row, sorted by its values alone: sums over it are the same whatever the rows are named."""
    table = pd.DataFrame(
        {
            key: rows[key].to_numpy(),
            "price_effect": price_effect,
            "click_effect": click_effect,
            **{column: rows[source].to_numpy() for column, source in _SOURCES.items()},
        }
    )
    return table.sort_values([*EFFECT_COLUMNS, key], ignore_index=True)


def _multipliers(effects: pd.DataFrame, key: str, *, response: BidResponse, bounds: MultiplierBounds) -> pd.DataFrame:
    moved = response.to_price * effects["price_effect"] + response.to_click_rate * effects["click_effect"]
    raw, requests = np.exp(moved.to_numpy(float)), effects["bids"].to_numpy(float)
    multiplier = normalise(raw, requests=requests, bounds=bounds) if len(effects) else raw
    return effects[[key]].assign(multiplier=multiplier, **{name: effects[name] for name in _SOURCES})
