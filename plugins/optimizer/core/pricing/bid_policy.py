"""The settings that bound bids."""

from dataclasses import dataclass

from optimizer.core.config.settings import RunSettings


@dataclass(frozen=True, slots=True)
class BidPolicy:
    """What bounds the bids. Money is CPM.

    is_second_price: the winner pays the best rival's bid, so the best bid is what a win is worth.
    jitter_sd: standard deviation of the random factor on each bid, truncated at two; less where a bound is near.
    step_limit: largest relative change of a served bid a day, against what was served before (`step_from_cpm`).
    value_trust: theta, 0 to 1, how far the value estimate may raise or bound bids.
    is_aggressive: thin segments below the target bid the upper end of what is plausible.
    """

    target_win_rate: float
    win_rate_scope: str
    target_margin: float
    max_bid_cpm: float
    floor_available: bool
    jitter_sd: float
    step_limit: float
    value_trust: float
    is_second_price: bool = False
    is_aggressive: bool = False

    @classmethod
    def of(cls, settings: RunSettings, *, jitter_sd: float, step_limit: float, value_trust: float) -> "BidPolicy":
        """Return what bounds the bids of a run with these settings."""
        return cls(
            target_win_rate=settings.target_win_rate,
            win_rate_scope=settings.win_rate_scope,
            target_margin=settings.target_margin,
            max_bid_cpm=settings.max_bid_cpm,
            floor_available=settings.floor_available,
            jitter_sd=jitter_sd,
            step_limit=step_limit,
            value_trust=value_trust,
            is_second_price=settings.auction_type == "second_price",
            is_aggressive=settings.aggressive_exploration,
        )
