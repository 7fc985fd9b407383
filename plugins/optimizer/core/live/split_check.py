"""Does the bidder split the traffic as deployed? Shares of bids by run against the percents, and likely causes.

A sample ratio mismatch makes every comparison of two runs doubtful (Fabijan et al. 2019, "Diagnosing sample ratio
mismatch in online controlled experiments", KDD). The split hashes an id, so ids are the sample: where distinct ids are
counted, they are tested by Pearson's chi-square. Bids are not independent, since an id keeps its run and brings several
of them. Without ids, the chi-square of the bids is divided by a design effect (Rao and Scott 1981, JASA 76): the larger
of what returning ids are assumed to cause, which days do not show, and of the variation of the shares between days.

An alarm needs both significance and a deviation that matters. A run that bids on fewer of its requests than the others
has a smaller share of the bids however honest the split is. The alarm ends with the first day whose shares are as
deployed and differ significantly from those of the days before: the cause was fixed, and old bids say no more.
Source: docs/optimizer.md, "Split check".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from optimizer.core.distributions import chi_square_tail

ALARM_P = 0.01 / 30
"""Below this p value a deviation is significant: with a check a day, at most .01 of honest splits alarm in 30 days."""

LEAST_DEVIATION = 0.03
"""Deviations of a share below this do not matter: 3 points, or half the run's share where that is less."""

BIDS_PER_ID, RETURN_DAYS = 10.0, 7
"""Assumed where ids are not counted: an id brings ten bids a day, and comes back for a week with the same run."""

PRIOR_DAYS = 10
"""How many days the assumption weighs against the variation between days that is seen."""

LARGE_ID = 0.1
"""An id with this share of the bids cannot be one person's."""

_SMALLEST_SHARE = 0.001
"""What a run without traffic may have: for minutes after a change, the bidder still serves the split before."""


class SplitCause(StrEnum):
    """A likely cause of a split that is not as deployed."""

    STALE_SPLIT = "the bidder has not loaded the split"
    ONE_PLACE = "the mismatch is in one place only"
    SHARED_ID = "one id has a large share of the bids"


@dataclass(frozen=True, slots=True)
class RunShare:
    """Shares of one run, 0 to 1: what was deployed, of the bids, and of the distinct ids (None: not counted)."""

    run_id: str
    deployed: float
    bids: float
    ids: float | None


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """Whether the split is as deployed.

    Attributes:
        is_off: a share deviates significantly and by enough to matter.
        shares: of every run that was deployed or that bid, by run_id.
        p_value: of the test over ids where they are counted, else over bids.
        design_effect: by how much the variance of the shares of bids is taken to exceed that of independent bids.
        causes: likely causes; empty where the split is as deployed, or off for a reason that is not known.
        place: the dimension and value of ONE_PLACE, such as `exchange a`; else None.
    """

    is_off: bool
    shares: tuple[RunShare, ...]
    p_value: float
    design_effect: float
    causes: tuple[SplitCause, ...]
    place: str | None


def check_split(
    counts: pd.DataFrame,
    *,
    percents: Mapping[str, float],
    previous_percents: Mapping[str, float] | None = None,
    ids: Mapping[str, float] | None = None,
    places: pd.DataFrame | None = None,
    largest_id_bids: float = 0.0,
) -> SplitCheck:
    """Return whether the shares of the bids are the percents that were deployed.

    Args:
        counts: one row a day and run, with the columns day, run_id and bids, over days with this split only.
        percents: by run_id, as deployed; they sum to 100.
        previous_percents: those of the split before, if there was one.
        ids: distinct ids that the split hashes (users) by run_id over the same days, where they are counted. Count them
            where there may be fewer than a few thousand: chance alone then moves the shares of bids by some points.
        places: the same bids by place, with the columns dimension (such as exchange), value, run_id and bids.
        largest_id_bids: the bids of the id that has the most.
    """
    runs = sorted({*percents, *counts["run_id"]})
    deployed = _shares_of(percents, runs)
    bids = _table(counts, rows="day", runs=runs)
    total = bids.sum(0)
    has_large_id = largest_id_bids >= LARGE_ID * max(total.sum(), 1.0)
    p_value, design_effect = bids_p_value(bids, deployed=deployed)
    is_off = bool((p_value < ALARM_P) & is_far(total, deployed=deployed))
    counted = None if ids is None else np.array([ids.get(run_id, 0.0) for run_id in runs])
    if counted is not None:
        p_value = ids_p_value(counted, deployed=deployed)
        is_off = bool((p_value < ALARM_P) & is_far(counted, deployed=deployed)) or (is_off and has_large_id)
    is_off = is_off and not is_fixed(bids, deployed=deployed)
    place = _only_place(places, runs=runs, deployed=deployed) if is_off and places is not None else None
    is_stale = place is None and _is_stale(total, runs=runs, deployed=deployed, previous_percents=previous_percents)
    likely = {
        SplitCause.STALE_SPLIT: is_stale,
        SplitCause.ONE_PLACE: place is not None,
        SplitCause.SHARED_ID: has_large_id,
    }
    return SplitCheck(
        is_off=is_off,
        shares=_run_shares(runs, deployed, total, counted),
        p_value=float(p_value),
        design_effect=float(design_effect),
        causes=tuple(cause for cause, holds in likely.items() if is_off and holds),
        place=place,
    )


def bids_p_value(bids: np.ndarray, *, deployed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the p value of the shares of bids, and the design effect that it allows for.

    Args:
        bids: shape (..., days, runs).
        deployed: shares, shape (runs,).
    Returns:
        two arrays of shape (...).
    """
    total, days, runs = bids.sum(-2), bids.shape[-2], bids.shape[-1]
    between = _chi_square(bids, _normed(total)[..., None, :]).sum(-1) / max(runs - 1, 1)
    seen = (PRIOR_DAYS * BIDS_PER_ID + between) / (PRIOR_DAYS + max(days - 1, 0))
    design_effect = np.maximum(seen, BIDS_PER_ID * min(max(days, 1), RETURN_DAYS))
    return _p_value(_chi_square(total, deployed) / design_effect, runs=runs), design_effect


def ids_p_value(ids: np.ndarray, *, deployed: np.ndarray) -> np.ndarray:
    """Return the p value of the shares of distinct ids, shape (...), of counts with shape (..., runs)."""
    return _p_value(_chi_square(ids, deployed), runs=ids.shape[-1])


def is_far(counts: np.ndarray, *, deployed: np.ndarray) -> np.ndarray:
    """Return whether a share deviates by enough to matter, shape (...), of counts with shape (..., runs)."""
    least = np.where(deployed > 0, np.minimum(LEAST_DEVIATION, deployed / 2), LEAST_DEVIATION)
    return (counts.sum(-1) > 0) & (abs(_normed(counts) - deployed) >= least).any(-1)


def is_fixed(bids: np.ndarray, *, deployed: np.ndarray) -> bool:
    """Return whether the last day is split as deployed, and differs significantly from the days before.

    Args:
        bids: shape (days, runs).
        deployed: shares, shape (runs,).
    """
    if len(bids) < 2:
        return False
    last, before = bids[-1:], bids[:-1].sum(0)
    (as_deployed, _), (as_before, _) = (bids_p_value(last, deployed=shares) for shares in (deployed, _normed(before)))
    is_as_deployed = as_deployed >= ALARM_P or not is_far(last.sum(0), deployed=deployed)
    return bool(is_as_deployed and as_before < ALARM_P and is_far(last.sum(0), deployed=_normed(before)))


def _table(counts: pd.DataFrame, *, rows: str, runs: list[str]) -> np.ndarray:
    """The bids by row and run, shape (rows, runs), the rows in order of their values."""
    table = counts.astype({"bids": float}).pivot_table(index=rows, columns="run_id", values="bids", aggfunc="sum")
    return table.reindex(columns=runs).fillna(0.0).to_numpy(float)


def _run_shares(
    runs: list[str], deployed: np.ndarray, bids: np.ndarray, ids: np.ndarray | None
) -> tuple[RunShare, ...]:
    of_ids = [None] * len(runs) if ids is None else _normed(ids).tolist()
    rows = zip(runs, deployed.tolist(), _normed(bids).tolist(), of_ids, strict=True)
    return tuple(RunShare(*row) for row in rows)


def _is_stale(
    total: np.ndarray, *, runs: list[str], deployed: np.ndarray, previous_percents: Mapping[str, float] | None
) -> bool:
    """Whether a deployed run is missing, or the shares are those of the split before."""
    if ((deployed > 0) & (total == 0)).any():
        return True
    if not previous_percents or not previous_percents.keys() <= set(runs):
        return False
    return not is_far(total, deployed=_shares_of(previous_percents, runs))


def _only_place(places: pd.DataFrame, *, runs: list[str], deployed: np.ndarray) -> str | None:
    """The place without which the shares are as deployed; of several, the one that deviates most."""
    found = []
    for dimension, rows in places.groupby("dimension"):
        bids = _table(rows, rows="value", runs=runs)
        rest = bids.sum(0) - bids
        is_only = is_far(bids, deployed=deployed) & ~is_far(rest, deployed=deployed) & (rest.sum(-1) > 0)
        values, deviations = sorted(rows["value"].unique()), _chi_square(bids, deployed)
        found += [(deviations[at], f"{dimension} {values[at]}") for at in np.flatnonzero(is_only)]
    return max(found)[1] if found else None


def _chi_square(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Pearson's chi-square, shape (...); counts and shares have shape (..., runs)."""
    expected = counts.sum(-1, keepdims=True) * _normed(np.maximum(shares, _SMALLEST_SHARE))
    return ((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum(-1)


def _p_value(chi_square: np.ndarray, *, runs: int) -> np.ndarray:
    return chi_square_tail(chi_square, runs - 1) if runs > 1 else np.ones(chi_square.shape)


def _normed(counts: np.ndarray) -> np.ndarray:
    """Shares that sum to 1 over the last axis; 0 where nothing was counted."""
    return counts / np.maximum(counts.sum(-1, keepdims=True), 1e-9)


def _shares_of(percents: Mapping[str, float], runs: list[str]) -> np.ndarray:
    return _normed(np.array([percents.get(run_id, 0.0) for run_id in runs]))
