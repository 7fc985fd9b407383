"""The reason of one bid as a sentence for a trader."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bid_bounds import CENT
from optimizer.core.pricing.bid_steps import BID_TOLERANCE, RunPricing, WinRate, known
from optimizer.core.pricing.bids import NO_BID

_FLAT = 0.02
"""At the best bid a slightly lower one saves no more than it loses; it gains no more than this share of the saving."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a thousand wins are worth, CPM: worth = value_trust * (1 - target_margin) * value + shadow price."""

    value_cpm: float | None
    value_trust: float
    target_margin: float
    own_worth_cpm: float
    shadow_price_cpm: float
    worth_cpm: float


def reason_text(row: Mapping[str, Any] | pd.Series, pricing: RunPricing, worth: Worth, win_rate: WinRate) -> str:
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
    before = known(row["step_from_cpm"]) or 0.0
    is_first = known(row["previous_bid_cpm"]) is None
    return f"the {before:.2f} CPM that {'was usually bid' if is_first else 'was served before'}"


def _held_text(row: Mapping[str, Any] | pd.Series) -> str:
    wanted, planned = float(row["wanted_bid_cpm"]), float(row["planned_bid_cpm"])
    kept = "what was usually bid" if known(row["previous_bid_cpm"]) is None else "what was bid before"
    if math.isclose(wanted, planned, rel_tol=BID_TOLERANCE):
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
