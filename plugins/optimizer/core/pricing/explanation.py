"""How one bid was computed: every number between a segment's evidence and the bid that the bidder finds."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bids import AGGRESSIVE_QUANTILE, CENT, NO_BID, THIN_EVIDENCE, BidPolicy, Bounds, with_room
from optimizer.core.serving.keys import split_key
from optimizer.errors import DataError

WinRate = Callable[[Any, Any, Any], Any]
"""P(win) of level, slope and bid, numbers or arrays of them."""
"""P(win) at (level, slope, bid CPM)."""

UNEXPLAINED = "unexplained"
"""Name of a step that the numbers of the run do not account for; there should be none."""

SETTLED = "bounds"
"""Name of a step back between bounds that leave no room for jitter between them."""

ROUND_PRICE = "round_price"
"""Name of a step to a cent above a round price."""

JITTER_MEAN = "jitter_mean"
"""Name of a step to the mean of a held bid's jitter, where a bound cuts one side of it off."""

_FLAT = 0.02
"""At the best bid a slightly lower one saves no more than it loses; it gains no more than this share of the saving."""

_BID_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class RunPricing:
    """What all segments of a run share when they are priced.

    reference_cpm: the bid at which levels are measured, CPM.
    shadow_price_cpm: lambda, what one more win is worth beyond its value, CPM.
    value_trust: theta, 0 to 1, how far the value estimate is believed.
    step_limit: largest relative change of a served bid a day.
    jitter_sd: standard deviation of the random factor on each bid.
    level_correction: what the last days' wins add to all levels, logit units.
    """

    settings: RunSettings
    reference_cpm: float
    shadow_price_cpm: float
    value_trust: float
    step_limit: float
    jitter_sd: float
    level_correction: float = 0.0

    @property
    def policy(self) -> BidPolicy:
        """What bounds the bids."""
        return BidPolicy.of(
            self.settings, jitter_sd=self.jitter_sd, step_limit=self.step_limit, value_trust=self.value_trust
        )


@dataclass(frozen=True, slots=True)
class SegmentEvidence:
    """What the log says of the segment; `effective_bids` are weighted by age. Rates that are not known are None."""

    bids: int
    views: int
    clicks: int
    effective_bids: float
    observed_win_rate: float | None
    observed_ctr: float | None
    modelled_ctr: float | None


@dataclass(frozen=True, slots=True)
class SegmentCurve:
    """The win-rate curve, in logit units at the reference bid.

    level = (model_level + level_shift + level_correction) / flatness and slope = model_slope / flatness: a curve is
    flatter the less its level is known. Where a hidden floor is out of reach, the level is one that cannot win.

    own_share: share of the level that is the segment's own evidence, 0 to 1; the rest is the model's.
    slope_error: standard error of model_slope.
    hidden_floor_cpm: bids below it won nothing; None if there is none.
    modelled_win_rate: at the segment's mean logged bid.
    """

    reference_cpm: float
    model_level: float
    level_shift: float
    level_correction: float
    own_share: float
    level_error: float
    flatness: float
    level: float
    win_rate_at_reference: float
    modelled_win_rate: float
    model_slope: float
    slope: float
    slope_error: float
    is_slope_identified: bool
    hidden_floor_cpm: float | None


@dataclass(frozen=True, slots=True)
class Worth:
    """What a thousand wins are worth, CPM: worth = value_trust * (1 - target_margin) * value + shadow price."""

    value_cpm: float | None
    value_trust: float
    target_margin: float
    own_worth_cpm: float
    shadow_price_cpm: float
    worth_cpm: float


@dataclass(frozen=True, slots=True)
class BidStep:
    """The bid after one step from what is wanted to what is suggested; an absent bound is None.

    low_cpm, high_cpm: of planned bids: the bound of served ones less room for jitter.
    win_rate: expected at this bid, None without a bid.
    """

    name: str
    low_cpm: float | None
    high_cpm: float | None
    bid_cpm: float | None
    win_rate: float | None
    has_moved: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that made one bid. `steps` lead from the wanted bid through the bounds, in order, to the suggested one.

    not_served_because: why the bidder finds no bid of this segment; None where it finds one.
    """

    segment_key: str
    features: dict[str, str | None]
    evidence: SegmentEvidence
    curve: SegmentCurve
    worth: Worth
    steps: tuple[BidStep, ...]
    wanted_bid_cpm: float
    planned_bid_cpm: float | None
    jitter: float
    suggested_bid_cpm: float | None
    expected_win_rate: float
    expected_margin: float | None
    is_served: bool
    not_served_because: str | None
    reason: str
    reason_text: str


def find_segment(bids: pd.DataFrame, key: str, *, run_id: str, blocked: Container[str] = frozenset()) -> pd.Series:
    """Return the row of the segment.

    Args:
        blocked: keys that the run says not to bid on; they have no row.

    Raises:
        DataError: the key is blocked, or does not exist; then the nearest keys are named.
    """
    rows = bids[bids["segment_key"] == key]
    if len(rows) == 1:
        return rows.iloc[0]
    if key in blocked:
        raise DataError(
            f"run {run_id} blocks segment {key!r}: memcache.csv has it with a bid of 0, as nothing is left between its "
            "floor and what margin and cap allow; compare its floor, max_bid_cpm and target_margin"
        )
    near = get_close_matches(key, bids["segment_key"].tolist(), n=3, cutoff=0.5)
    hint = f"; nearest are {', '.join(near)}" if near else ""
    raise DataError(
        f"run {run_id} has no bid for segment {key!r} among its {len(bids):,} keys{hint}; "
        "write the key as it is in suggested_bids.csv, in quotes"
    )


def explain_bid(
    row: Mapping[str, Any] | pd.Series,
    *,
    features: Sequence[str],
    pricing: RunPricing,
    win_rate: WinRate,
) -> Explanation:
    """Return how the bid of one segment was computed.

    Args:
        row: the segment's row of suggested_bids.csv.
        features: of the segment key, in order.
        win_rate: P(win) at (level, slope, bid CPM) on the run's curves.
    """
    values = dict(zip(features, split_key(row["segment_key"]), strict=True))
    worth = _worth(row, pricing)
    return Explanation(
        segment_key=row["segment_key"],
        features=values,
        evidence=_evidence(row),
        curve=_curve(row, pricing, win_rate),
        worth=worth,
        steps=tuple(_steps(row, pricing, win_rate)),
        wanted_bid_cpm=float(row["wanted_bid_cpm"]),
        planned_bid_cpm=_known(row["planned_bid_cpm"]),
        jitter=float(row["jitter"]),
        suggested_bid_cpm=_known(row["suggested_bid_cpm"]),
        expected_win_rate=float(row["expected_win_rate"]),
        expected_margin=_known(row["expected_margin"]),
        is_served=bool(row["is_served"]),
        not_served_because=None
        if row["is_served"]
        else "nothing is left between its floor and what margin and cap allow",
        reason=row["reason"],
        reason_text=_reason_text(row, pricing, worth, win_rate),
    )


def _evidence(row: Mapping[str, Any] | pd.Series) -> SegmentEvidence:
    return SegmentEvidence(
        bids=int(row["bids"]),
        views=int(row["views"]),
        clicks=int(row["clicks"]),
        effective_bids=float(row["effective_bids"]),
        observed_win_rate=_known(row["observed_win_rate"]),
        observed_ctr=_known(row["observed_ctr"]),
        modelled_ctr=_known(row["modelled_ctr"]),
    )


def _curve(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, win_rate: WinRate) -> SegmentCurve:
    level, slope = float(row["level"]), float(row["slope"])
    return SegmentCurve(
        reference_cpm=pricing.reference_cpm,
        model_level=float(row["model_level"]),
        level_shift=float(row["level_shift"]),
        level_correction=pricing.level_correction,
        own_share=float(row["own_share"]),
        level_error=float(row["level_error"]),
        flatness=float(row["flatness"]),
        level=level,
        win_rate_at_reference=float(win_rate(level, slope, pricing.reference_cpm)),
        modelled_win_rate=float(row["modelled_win_rate"]),
        model_slope=slope * float(row["flatness"]),
        slope=slope,
        slope_error=float(row["slope_error"]),
        is_slope_identified=bool(row["is_slope_identified"]),
        hidden_floor_cpm=float(row["hidden_floor_cpm"]) or None,
    )


def _worth(row: Mapping[str, Any] | pd.Series, pricing: RunPricing) -> Worth:
    value, margin = _known(row["value_cpm"]), pricing.settings.target_margin
    own = pricing.value_trust * (1 - margin) * (value or 0.0)
    return Worth(value, pricing.value_trust, margin, own, pricing.shadow_price_cpm, own + pricing.shadow_price_cpm)


def _steps(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, win_rate: WinRate) -> Iterator[BidStep]:
    """The ladder from the wanted to the suggested bid; it always ends at the published bids."""

    def step(name: str, bid: float | None, *, low: float | None = None, high: float | None = None) -> BidStep:
        expected = None if bid is None else float(win_rate(float(row["level"]), float(row["slope"]), bid))
        return BidStep(name, low, high, bid, expected, has_moved=bid != before)

    wanted = float(row["wanted_bid_cpm"])
    before: float | None = wanted
    yield step("wanted", wanted)
    lifted = wanted * _exploration_factor(row, wanted, pricing.settings, win_rate)
    if lifted != before:
        yield step("exploration", lifted)
    before = lifted
    bounds = Bounds.of(pd.DataFrame([dict(row)]), pricing.policy)
    for name, edges in bounds.named.items():
        low, high = (float(np.broadcast_to(edge, 1)[0]) for edge in with_room(name, *edges))
        bid = min(max(before, low), high)
        yield step(name, bid, low=_edge(low, 0.0), high=_edge(high, math.inf))
        before = bid
    planned, suggested = _known(row["planned_bid_cpm"]), _known(row["suggested_bid_cpm"])
    if planned is None or suggested is None:
        yield step(row["reason"], None)
        return
    for name, bid in _after_bounds(before, row, bounds, pricing).items():
        if not math.isclose(bid, before, rel_tol=_BID_TOLERANCE):
            yield step(name, bid)
            before = bid
    if not math.isclose(planned, before, rel_tol=_BID_TOLERANCE):
        yield step(UNEXPLAINED, planned)
    before = planned
    yield step("jitter", suggested)


def _after_bounds(
    bid: float, row: Mapping[str, Any] | pd.Series, bounds: Bounds, pricing: RunPricing
) -> dict[str, float]:
    """The bid after each step between the last bound and the planned bid."""
    settled = bounds.settle(np.array([bid]))
    reach = bounds.jitter_reach(settled, pricing.jitter_sd, is_held=np.array([bool(row["is_held"])]))
    if (round_price := _known(row["round_price_cpm"])) is not None:
        return {SETTLED: float(settled[0]), ROUND_PRICE: round_price}
    return {SETTLED: float(settled[0]), JITTER_MEAN: float((settled * reach.mean)[0])}


def _edge(value: float, absent: float) -> float | None:
    return None if value == absent else float(value)


def _exploration_factor(
    row: Mapping[str, Any] | pd.Series, wanted: float, settings: RunSettings, win_rate: WinRate
) -> float:
    """By how much aggressive exploration lifts a thin segment's bid."""
    is_thin = settings.aggressive_exploration and row["own_share"] < THIN_EVIDENCE and not row["is_held"]
    if not is_thin or win_rate(float(row["level"]), float(row["slope"]), wanted) >= settings.target_win_rate:
        return 1.0
    return math.exp(ndtri(AGGRESSIVE_QUANTILE) * row["level_error"] / row["slope"])


def _reason_text(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, worth: Worth, win_rate: WinRate) -> str:
    """The reason as a sentence for a trader."""
    settings, wanted, planned = pricing.settings, row["wanted_bid_cpm"], row["planned_bid_cpm"]
    moved = f"from {wanted:.2f} to {planned:.2f} CPM"
    moved_to = f"{'raised' if planned > wanted else 'lowered'} {moved}"
    why, bound = _best_text(settings, planned, worth), f"The wanted bid was {moved_to}"
    alike = f"{planned:.2f} CPM is mostly what is wanted on segments like it"
    if _is_falling(row, settings, worth, win_rate):
        why = (
            f"at {worth.worth_cpm:.2f} CPM a win, no bid against rivals pays here; {planned:.2f} CPM is on the way, by "
            "degrees, from the last that did to one for auctions without a rival"
        )
        bound = f"No bid against rivals pays here, and the wanted one was {moved_to}"
        alike += ", where no bid against rivals pays"
    texts = {
        "target": f"No bound touched it: {why}.",
        "value": f"No bound touched it: {why}.",
        "shrinkage": f"No bound touched it, but only {100 * row['own_share']:.0f} % of its win rate is own evidence: "
        f"{alike}.",
        "exploration": f"Raised {moved}: little is known of it, and aggressive exploration tries the upper end.",
        "held": f"Held at {_held_text(row)}: the log does not show what a higher or lower bid would win here.",
        "trust_band": f"{bound}: the log knows nothing of bids beyond that.",
        "step": f"{bound}: no served bid moves more than {100 * pricing.step_limit:.0f} % a day, jitter included, from "
        f"{_before_text(row)}.",
        "floor": f"Raised {moved}: the SSP takes nothing below its floor.",
        "hidden_floor": f"Raised {moved}: bids below {row['hidden_floor_cpm']:.2f} CPM win nothing on its "
        f"{settings.anchor_feature}, by a floor that the SSP does not pass.",
        "round_price": f"Moved {moved}, a cent above a round price: many rivals bid round prices, and a bid just below "
        "one loses to all of them.",
        "margin": f"Lowered {moved}: more would keep less than {100 * settings.target_margin:.0f} % of the "
        f"{worth.value_cpm or 0:.2f} CPM that its views are worth.",
        "cap": f"Lowered {moved}: max_bid_cpm allows no more.",
        NO_BID: "No bid: nothing is left between its floor and what margin and cap allow.",
    }
    return texts.get(row["reason"], f"Bound by {row['reason']}: {moved}.")


def _before_text(row: Mapping[str, Any] | pd.Series) -> str:
    """What the daily step is measured from: on a first run nothing was served before."""
    before = _known(row["step_from_cpm"]) or 0.0
    is_first = _known(row["previous_bid_cpm"]) is None
    return f"the {before:.2f} CPM that {'was usually bid' if is_first else 'was served before'}"


def _held_text(row: Mapping[str, Any] | pd.Series) -> str:
    wanted, planned = float(row["wanted_bid_cpm"]), float(row["planned_bid_cpm"])
    kept = "what was usually bid" if _known(row["previous_bid_cpm"]) is None else "what was bid before"
    if math.isclose(wanted, planned, rel_tol=_BID_TOLERANCE):
        return f"{planned:.2f} CPM, {kept}"
    return f"{wanted:.2f} CPM, {kept}, and {planned:.2f} CPM on average, since a bound cuts its jitter off on one side"


def _is_falling(row: Mapping[str, Any] | pd.Series, settings: RunSettings, worth: Worth, win_rate: WinRate) -> bool:
    """Whether the wanted bid is below the last one that is best against rivals: a little less would pay more."""
    is_best_response = settings.auction_type == "first_price" and settings.win_rate_scope == "portfolio"
    if row["is_held"] or not is_best_response or worth.worth_cpm <= CENT:
        return False
    wanted = max(float(row["wanted_bid_cpm"]), CENT)
    won, won_for_less = (win_rate(float(row["level"]), float(row["slope"]), bid) for bid in (wanted, 0.98 * wanted))
    gain = (worth.worth_cpm - 0.98 * wanted) * won_for_less - (worth.worth_cpm - wanted) * won
    return bool(gain > _FLAT * 0.02 * wanted * won)


def _best_text(settings: RunSettings, bid_cpm: float, worth: Worth) -> str:
    target = f"{100 * settings.target_win_rate:.0f} %"
    if settings.win_rate_scope == "segment":
        return f"{bid_cpm:.2f} CPM wins {target} of this segment"
    if worth.shadow_price_cpm > 0:
        return (
            f"{bid_cpm:.2f} CPM is best where a win is worth {worth.shadow_price_cpm:.2f} CPM beyond its value, the "
            f"price of the portfolio's target of {target}"
        )
    return f"{bid_cpm:.2f} CPM is best for its own value, and the portfolio wins {target} anyway"


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
