"""What each step from the wanted bid to the suggested one is, in a few words."""

from optimizer.core.pricing.bid_steps import BidStep

_NOTES = {
    "wanted": "before any bound",
    "exploration": "the upper end of what is plausible",
    "trust_band": "bids that the log knows",
    "hidden_floor": "below it no bid wins",
    "step": "the daily step, around what was served before",
    "floor": "the SSP's 90 % floor",
    "margin": "what keeps the target margin",
    "cap": "max_bid_cpm",
    "bounds": "bounds too close together for jitter",
    "round_price": "a cent above a round price",
    "jitter_mean": "mean of jitter that a bound cuts off",
    "jitter": "random factor, whole cents",
}
_ABSENT_NOTES = {
    "trust_band": "a held bid stays as it was",
    "step": "not known what was served before",
    "hidden_floor": "none was found",
    "floor": "no floor is known",
    "margin": "value unknown, or not trusted enough",
}
"""What a bound says where it does not hold."""


def step_note(step: BidStep) -> str:
    """Return what the step is, or why its bound does not hold."""
    is_absent = step.name in _ABSENT_NOTES and step.low_cpm is None and step.high_cpm is None
    return (_ABSENT_NOTES if is_absent else _NOTES).get(step.name, "see the reason below")
