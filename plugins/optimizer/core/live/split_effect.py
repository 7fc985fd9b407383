"""What a split of the traffic is expected to bring, and which served bids another split changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.records.estimate import Estimate

WHOLE_PCT = 100

MOST_WITHOUT_INTERVAL_PCT = 10
"""A split has intervals where the runs without intervals of their own, such as the control, get at most this much."""


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What a run forecasts if it gets all the traffic, with 95 % intervals; money in currency units.

    spend_per_day: without a value where only win rate and CPM are known, as of a control.
    """

    win_rate: Estimate = field(default=Estimate())
    cpm: Estimate = field(default=Estimate())
    spend_per_day: Estimate = field(default=Estimate())

    @property
    def requests_per_day(self) -> float | None:
        """How many requests a day it was forecast for, or None."""
        spend, win_rate, cpm = self.spend_per_day.value, self.win_rate.value, self.cpm.value
        return 1000 * spend / (win_rate * cpm) if spend and win_rate and cpm else None


def blend_forecasts(
    split: Mapping[str, int], forecasts: Mapping[str, RunForecast], *, requests_per_day: float | None
) -> RunForecast:
    """Return what the runs of a split forecast together; a figure that one of them does not forecast is not known.

    All runs are taken to miss their forecasts in the same direction, as they do when the market moves, so the interval
    of a split is as wide as those of its runs. A run without an interval counts with its value.

    Args:
        split: {run_id: percent}, above 0.
        requests_per_day: of all the traffic; None where no run forecasts it.
    """
    parts = [(pct / WHOLE_PCT, forecasts.get(run_id, RunForecast())) for run_id, pct in split.items()]
    rates = [(share, part.win_rate) for share, part in parts]
    win_rate = _mean(rates)
    cpm = _mean([(share * (part.win_rate.value or 0.0), part.cpm) for share, part in parts])
    if win_rate.value is None or cpm.value is None or requests_per_day is None:
        return RunForecast(win_rate, Estimate() if win_rate.value is None else cpm)
    return RunForecast(win_rate, cpm, _spend(parts, requests_per_day))


def without_interval(split: Mapping[str, int], forecasts: Mapping[str, RunForecast]) -> tuple[str, ...]:
    """Return the runs of the split that forecast a win rate without an interval."""
    known = {run_id: forecasts.get(run_id, RunForecast()).win_rate for run_id in split}
    return tuple(run_id for run_id, rate in known.items() if rate.value is not None and rate.low is None)


def _spend(parts: Iterable[tuple[float, RunForecast]], requests_per_day: float) -> Estimate:
    """The spend of all runs on the same requests; each keeps the relative interval of its own forecast."""
    scaled = []
    for share, part in parts:
        value = requests_per_day * (part.win_rate.value or 0.0) * (part.cpm.value or 0.0) / 1000
        own = part.spend_per_day
        ends: tuple[float | None, float | None] = (None, None)
        if own.value and own.low is not None and own.high is not None:
            ends = (value * own.low / own.value, value * own.high / own.value)
        scaled.append((share, Estimate(value, *ends)))
    found = _mean(scaled)
    total = sum(share for share, _ in scaled)
    return Estimate(*(None if end is None else end * total for end in (found.value, found.low, found.high)))


def _mean(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The weighted mean; unknown where one that counts is, and without ends where too much has none."""
    counted = [(weight, part) for weight, part in parts if weight > 0]
    if not counted or any(part.value is None for _, part in counted):
        return Estimate()
    weights = [weight for weight, _ in counted]
    value, low, high = (
        float(np.average([_or_value(part, end) for _, part in counted], weights=weights))
        for end in ("value", "low", "high")
    )
    bare = sum(weight for weight, part in counted if part.low is None or part.high is None)
    is_bare = bare > sum(weights) * MOST_WITHOUT_INTERVAL_PCT / WHOLE_PCT
    return Estimate(value) if is_bare else Estimate(value, low, high)


def _or_value(part: Estimate, end: str) -> float:
    """An end of the interval; the value where there is none."""
    known = getattr(part, end)
    return float(part.value or 0.0) if known is None else float(known)


@dataclass(frozen=True, slots=True)
class ServedRunBids:
    """What a bidder serves of a run.

    bids: suggested_bids.csv: segment_key, suggested_bid_cpm, is_served and requests (an older run: bids).
    blocked: keys that are not bid on. fallback_bid_cpm: the bid on every other request.
    """

    features: tuple[str, ...]
    bids: pd.DataFrame
    blocked: frozenset[str]
    fallback_bid_cpm: float


@dataclass(frozen=True, slots=True)
class ServedMove:
    """A segment whose served bid changes; bids are CPM, mean over its traffic.

    request_share: the segment's share of all requests. moved_share: share of its own requests that get another bid.
    """

    segment_key: str
    request_share: float
    moved_share: float
    before_cpm: float
    after_cpm: float


@dataclass(frozen=True, slots=True)
class ServedChange:
    """How many of the segments get another bid for a part of their traffic, and on which share of all requests."""

    segments: int
    changed: int
    request_share: float
    largest: tuple[ServedMove, ...]


def compare_served(
    before: Mapping[str, int], after: Mapping[str, int], runs: Mapping[str, ServedRunBids], *, top: int
) -> ServedChange | None:
    """Return what changes of the served base bids; None where the runs have other features, so other segments.

    Args:
        before, after: {run_id: percent}; all of them in `runs`.
        top: how many segments are named, those first where the mean bid changes most by requests.
    """
    ids = sorted({*before, *after})
    if not ids or len({runs[run_id].features for run_id in ids}) > 1:
        return None
    tables = [_served(runs[run_id]) for run_id in ids]
    requests = pd.concat([table["requests"] for table in tables], axis=1).mean(axis=1)
    bids = np.column_stack(
        [
            table["bid"].reindex(requests.index).fillna(runs[run_id].fallback_bid_cpm).to_numpy(float)
            for run_id, table in zip(ids, tables, strict=True)
        ]
    )
    shares = [np.array([split.get(run_id, 0) for run_id in ids]) / WHOLE_PCT for split in (before, after)]
    moved = _moved_shares(bids, shares[1] - shares[0])
    weights = requests.to_numpy(float)
    total = weights.sum()
    means = [bids @ share for share in shares]
    order = np.argsort(-weights * np.abs(means[1] - means[0]), kind="stable")[:top]
    return ServedChange(
        segments=len(weights),
        changed=int((moved > 0).sum()),
        request_share=float(weights @ moved / total) if total else 0.0,
        largest=tuple(
            ServedMove(
                segment_key=str(requests.index[place]),
                request_share=float(weights[place] / total) if total else 0.0,
                moved_share=float(moved[place]),
                before_cpm=float(means[0][place]),
                after_cpm=float(means[1][place]),
            )
            for place in order
            if moved[place] > 0
        ),
    )


def _served(run: ServedRunBids) -> pd.DataFrame:
    """The served bid (NaN: the fallback) and the requests, by segment_key."""
    weight = "requests" if "requests" in run.bids else "bids"
    keys = run.bids["segment_key"]
    bid = run.bids["suggested_bid_cpm"].where(run.bids["is_served"].astype(bool))
    bid = bid.mask(keys.isin(run.blocked), 0.0)
    return pd.DataFrame({"bid": bid.to_numpy(float), "requests": run.bids[weight].to_numpy(float)}, index=keys)


def _moved_shares(bids: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The share of each segment's traffic that gets another bid; runs that bid the same cent are as one.

    Args:
        bids: CPM, shape (segments, runs). change: of each run's share of the traffic, shape (runs,).
    """
    cents = np.round(bids / CENT)
    moved = np.zeros(len(bids))
    for run in range(bids.shape[1]):
        same = cents == cents[:, [run]]
        moved += np.abs(same @ change) / same.sum(axis=1)
    return np.where(moved > 1e-9, moved / 2, 0.0)
