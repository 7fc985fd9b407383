"""Multipliers of domains and of identified professionals (NPI), shrunk, clipped and with mean one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize
from scipy.special import gammaln

from optimizer.core.cells import prepare_cells
from optimizer.core.features import remove_price
from optimizer.core.landscape import Link
from optimizer.core.shrinkage import shrink_effects, shrink_rates

LINK_ATOMS = 9
"""So many values stand for the distribution of what multipliers do to the logit of a request."""

DAMPING = 0.5
"""Share of a measured difference that becomes a multiplier: the exponent phi."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and largest multiplier."""

    low: float
    high: float


MULTIPLIER_COLUMNS = ("multiplier", "bids", "views", "clicks", "multiplied_bids", "log_multiplier_sum")
"""The new multiplier, the evidence, and how many bids had which sum of log multipliers before."""

NPI_BOUNDS = Bounds(0.7, 3.0)
DOMAIN_BOUNDS = Bounds(0.6, 1.5)


def npi_multipliers(npis: pd.DataFrame) -> pd.DataFrame:
    """Return `npi` and `MULTIPLIER_COLUMNS` of each identified professional, sorted by npi.

    Clicks ~ Poisson(rate x views) with a gamma prior by maximum likelihood; multiplier = (posterior / mean)^phi.
    """
    views, clicks = npis["wins"].to_numpy(float), npis["clicks"].to_numpy(float)
    shape, rate = fit_gamma_prior(clicks, views)
    raw = (((clicks + shape) / (views + rate)) / (shape / rate)) ** DAMPING
    return _table(npis, "npi", raw, NPI_BOUNDS)


def domain_multipliers(domains: pd.DataFrame, *, slope: float) -> pd.DataFrame:
    """Return `domain` and `MULTIPLIER_COLUMNS` of each domain, sorted by domain.

    A domain on which the same bid wins less often needs a higher bid, and one that is clicked more is worth one.

    Args:
        domains: cells by day, domain and price bucket.
        slope: logit units per unit of log bid.
    """
    priced = remove_price(prepare_cells(domains, []), slope=slope)
    priced["variance"] = priced["bids"] * priced["expected"] * (1 - priced["expected"])
    priced["residual"] = priced["wins"] - priced["bids"] * priced["expected"]
    columns = ["bids", "wins", "clicks", "variance", "residual", "multiplied_bids", "log_multiplier_sum"]
    sums = priced.groupby("domain", sort=True)[columns].sum().reset_index()
    weights = sums["variance"].to_numpy(float)
    win_effect = shrink_effects(sums["residual"].to_numpy(float) / weights, weights)
    views, clicks = sums["wins"].to_numpy(float), sums["clicks"].to_numpy(float)
    mean_rate = clicks.sum() / max(1.0, views.sum())
    worth = (
        shrink_rates(clicks, views, np.full(len(sums), mean_rate)) / mean_rate if mean_rate > 0 else np.ones(len(sums))
    )
    return _table(sums, "domain", np.exp(-win_effect / slope) ** DAMPING * worth**DAMPING, DOMAIN_BOUNDS)


def multiplier_link(tables: Sequence[pd.DataFrame], *, requests: float, slope: float, unrivalled_share: float) -> Link:
    """Return what new multipliers make of base bids, as shifts of the logit on single requests.

    A segment's curve is that of its base bid with the multipliers of the latest days. The bid on a request changes by
    its new multiplier over its old one; where none changes the link is the logistic function.

    Args:
        tables: of domains and NPIs with `MULTIPLIER_COLUMNS`; each factor is independent of the others.
        requests: all bids of the window; those in no row of a table keep the multiplier 1.
        slope: logit units per unit of log bid.
        unrivalled_share: share of auctions that any bid wins.
    """
    shifts, shares = np.zeros(1), np.ones(1)
    for table in tables:
        own, weight = _condense(*_request_shifts(table, requests, slope), LINK_ATOMS)
        shifts, shares = np.add.outer(shifts, own).ravel(), np.multiply.outer(shares, weight).ravel()
        shifts, shares = _condense(shifts, shares, LINK_ATOMS)
    return Link(shifts, shares, unrivalled_share)


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
    """The distribution by at most so many values: the means of slices of equal mass."""
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

    def negative_log_likelihood(log_shape: np.ndarray) -> float:
        shape = float(np.exp(log_shape[0]))
        rate = shape / mean
        return -float(
            (
                gammaln(counts + shape)
                - gammaln(shape)
                + shape * np.log(rate)
                - (counts + shape) * np.log(rate + exposures)
            ).sum()
        )

    if total < 2:
        return 1e6, 1e6 / mean
    best = minimize(negative_log_likelihood, x0=[0.0], bounds=[(np.log(1e-3), np.log(1e6))], method="L-BFGS-B")
    shape = float(np.exp(best.x[0]))
    return shape, shape / mean


def normalise(raw: np.ndarray, *, requests: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return the multipliers scaled and clipped so that their request-weighted mean is one and all lie in bounds."""

    def excess(log_scale: float) -> float:
        return float(np.average(np.clip(raw * np.exp(log_scale), bounds.low, bounds.high), weights=requests)) - 1.0

    return np.clip(raw * np.exp(brentq(excess, -20.0, 20.0)), bounds.low, bounds.high)


def _table(rows: pd.DataFrame, key: str, raw: np.ndarray, bounds: Bounds) -> pd.DataFrame:
    multiplier = normalise(raw, requests=rows["bids"].to_numpy(float), bounds=bounds) if len(rows) else raw
    table = pd.DataFrame(
        {
            key: rows[key],
            "multiplier": multiplier,
            "bids": rows["bids"],
            "views": rows["wins"],
            "clicks": rows["clicks"],
            "multiplied_bids": rows["multiplied_bids"],
            "log_multiplier_sum": rows["log_multiplier_sum"],
        }
    )
    return table.sort_values(key, ignore_index=True)
