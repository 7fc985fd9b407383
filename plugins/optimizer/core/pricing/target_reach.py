"""Can the target win rate be reached, and if not, what is in the way?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.curves import Landscape
from optimizer.core.pricing.bid_bounds import MIN_VALUE_TRUST
from optimizer.core.pricing.bids import NO_BID

TOLERANCE = 0.005
"""A target counts as reached where the expected win rate is at most this far below it."""

MIN_SHARE_NAMED = 0.01
"""What limits a smaller share of the requests is not named."""

MOST_HELD = 0.5
"""Where bids are held on this share of the requests or more, what can be reached is not known."""

LASTING = ("cap", "margin", "floor", NO_BID)
"""Reasons that stay until the configuration or the market changes."""

PASSING = ("step", "trust_band", "held")
"""Reasons that daily runs overcome by themselves."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A missed target: what is expected and what limits it, and what to do."""

    problem: str
    next_step: str


@dataclass(frozen=True, slots=True)
class TargetReach:
    """A target, and what the bids are expected to win.

    reachable_win_rate: at most this can be won within cap and margin; None where it is not known.
    limiting_shares: reason of a bid -> share of the requests whose bid it decided.
    """

    target_win_rate: float
    expected_win_rate: float
    reachable_win_rate: float | None
    limiting_shares: Mapping[str, float]

    @property
    def is_missed(self) -> bool:
        return self.expected_win_rate < self.target_win_rate - TOLERANCE

    @property
    def is_on_its_way(self) -> bool:
        """Whether the target is missed, and daily runs can still bring the bids there."""
        can_be_reached = self.reachable_win_rate is None or self.reachable_win_rate >= self.target_win_rate - TOLERANCE
        return self.is_missed and can_be_reached and self._share(PASSING) > self._share(LASTING)

    def shortfall(self, settings: RunSettings) -> Shortfall | None:
        """Return what can be reached, what limits it, and what to do; None where the target is reached."""
        if not self.is_missed:
            return None
        target = f"target_win_rate {self.target_win_rate:.3g}"
        if self.is_on_its_way:
            limit, next_step = _passing(self._main(PASSING), settings)
            return Shortfall(f"{target} is not reached yet: {self.expected_win_rate:.3g} expected{limit}", next_step)
        best = self.expected_win_rate if self.reachable_win_rate is None else self.reachable_win_rate
        if best >= self.target_win_rate - TOLERANCE:
            best = self.expected_win_rate
        limit, next_step = _lasting(self._main(LASTING), settings)
        return Shortfall(f"{target} cannot be reached: at most {best:.3g}{limit}", next_step)

    def sentence(self, settings: RunSettings) -> str | None:
        """Return the shortfall as one sentence; None where the target is reached."""
        found = self.shortfall(settings)
        return None if found is None else f"{found.problem}; {found.next_step}"

    def _share(self, reasons: tuple[str, ...]) -> float:
        return sum(self.limiting_shares.get(reason, 0.0) for reason in reasons)

    def _main(self, reasons: tuple[str, ...]) -> tuple[str | None, float]:
        """The reason among these that limits most requests, with its share."""
        reason = max(reasons, key=lambda reason: self.limiting_shares.get(reason, 0.0))
        share = self.limiting_shares.get(reason, 0.0)
        return (reason, share) if share >= MIN_SHARE_NAMED else (None, 0.0)


def read_reach(figures: Mapping[str, float | None]) -> TargetReach | None:
    """Return the reach from the metrics of a run's section `target`; None where it left none.

    The section has target_win_rate, expected_win_rate, reachable_win_rate, and share_<reason> of the limits.
    """
    target, expected = figures.get("target_win_rate"), figures.get("expected_win_rate")
    if target is None or expected is None:
        return None
    shares = {name.removeprefix("share_"): share or 0.0 for name, share in figures.items() if name.startswith("share_")}
    return TargetReach(
        target_win_rate=target,
        expected_win_rate=expected,
        reachable_win_rate=figures.get("reachable_win_rate"),
        limiting_shares=shares,
    )


def target_sentence(metrics: Mapping[str, Mapping[str, float | None]], settings: RunSettings) -> str | None:
    """Return `TargetReach.sentence` of a run's metrics, {section: {key: value}}; None too where it left none."""
    reach = read_reach(metrics.get("target") or {})
    return None if reach is None else reach.sentence(settings)


def measure_reach(
    bids: pd.DataFrame, *, landscape: Landscape, settings: RunSettings, value_trust: float, expected_win_rate: float
) -> TargetReach:
    """Return how far a bid table reaches the target, and what would limit the highest bids that are allowed.

    Where the highest bids still miss the target, cap, margin and floors count wherever they end them, elsewhere
    only if they decided a bid. If most requests are held, it is unknown what can be reached.

    Args:
        bids: requests, level, slope, value_cpm, planned_bid_cpm (NaN: no bid) and reason, one row a segment.
    """
    requests, reason = bids["requests"].to_numpy(float), bids["reason"].to_numpy(object)
    highest, limit = _highest_bids(bids, settings, value_trust)
    level, slope = bids["level"].to_numpy(float), bids["slope"].to_numpy(float)
    can_bid = np.isfinite(highest)
    won = np.where(can_bid, landscape.win_rate(level, slope, np.where(can_bid, highest, 1.0)), 0.0)
    reachable: float | None = float(requests @ won / requests.sum())
    passing = {name: float(requests[reason == name].sum() / requests.sum()) for name in PASSING}
    if passing["held"] >= MOST_HELD:
        reachable = None
    if reachable is not None and reachable < settings.target_win_rate - TOLERANCE:
        lasting = {name: float(requests[limit == name].sum() / requests.sum()) for name in LASTING}
    else:
        lasting = {name: float(requests[reason == name].sum() / requests.sum()) for name in LASTING}
    return TargetReach(settings.target_win_rate, expected_win_rate, reachable, lasting | passing)


def _highest_bids(bids: pd.DataFrame, settings: RunSettings, value_trust: float) -> tuple[np.ndarray, np.ndarray]:
    """The highest bid that is allowed on each segment, NaN where none is, and what ends it there."""
    planned = bids["planned_bid_cpm"].to_numpy(float)
    margin = np.full(len(bids), np.inf)
    if value_trust >= MIN_VALUE_TRUST:
        margin = np.nan_to_num((1 - settings.target_margin) * bids["value_cpm"].to_numpy(float), nan=np.inf)
    limit = np.where(margin < settings.max_bid_cpm, "margin", "cap").astype(object)
    highest = np.fmax(np.minimum(margin, settings.max_bid_cpm), planned)
    is_blocked = ~np.isfinite(planned)
    return np.where(is_blocked, np.nan, highest), np.where(is_blocked, NO_BID, limit)


def _passing(main: tuple[str | None, float], settings: RunSettings) -> tuple[str, str]:
    reason, share = main
    match reason:
        case "step":
            return (
                f" (limited by daily_step_limit={settings.daily_step_limit:g} on {share:.0%} of requests)",
                "each daily run moves the bids closer; raise daily_step_limit to get there faster",
            )
        case "trust_band":
            return (
                f" (limited to bids near those in the log on {share:.0%} of requests)",
                "each daily run widens what the log knows",
            )
        case _:
            return (
                f" (bids are held on {share:.0%} of requests, since the log does not show what a change would do)",
                "keep exploration_mode on: jittered bids show it",
            )


def _lasting(main: tuple[str | None, float], settings: RunSettings) -> tuple[str, str]:
    reason, share = main
    lower = "lower target_win_rate"
    match reason:
        case "cap":
            limit = f" (limited by max_bid_cpm={settings.max_bid_cpm:g} on {share:.0%} of requests)"
            return limit, f"raise max_bid_cpm or {lower}"
        case "margin":
            limit = f" (limited by target_margin={settings.target_margin:g} on {share:.0%} of requests)"
            return limit, f"lower target_margin or {lower}"
        case "floor" | "no_bid_floor":
            limit = f" (floors leave no room below max_bid_cpm and target_margin on {share:.0%} of requests)"
            return limit, f"check floor_cpm in BIDS, raise max_bid_cpm, lower target_margin, or {lower}"
        case _:
            return "", f"look at what bounds the bids in report.html, or {lower}"
