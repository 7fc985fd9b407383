"""bids.json: the figures of a run's bids, as compute_bids notes them."""

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict

from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.logit import Tails
from optimizer.core.landscape.price_steps import PriceSteps


class LinkRecord(BaseModel):
    """The shape of a run's win-rate curves: section `link` of metrics.json.

    shifts, shares: of `optimizer.core.landscape.curves.Link`.
    unrivalled_share, lost_share: share of the requests that every bid wins, and that no bid wins.
    price_ladder, price_ladder_share: of `optimizer.core.landscape.price_steps.PriceSteps`; None without steps.
    """

    model_config = ConfigDict(frozen=True)

    shifts: tuple[float, ...]
    shares: tuple[float, ...]
    unrivalled_share: float
    lost_share: float = 0.0
    price_ladder: str | None = None
    price_ladder_share: float = 0.0

    def landscape(self, reference_cpm: float) -> Landscape:
        """Return the win-rate curves that the run was priced on."""
        tails = Tails(self.unrivalled_share, 1 - self.lost_share)
        steps = PriceSteps(self.price_ladder, self.price_ladder_share) if self.price_ladder else None
        return Landscape(reference_cpm, Link(np.asarray(self.shifts), np.asarray(self.shares), tails), steps)


class ForecastIntervals(BaseModel):
    """The spend of the next days, and the ends of the 95 % and 80 % intervals; unset where nothing is bid.

    forecast_level_sd: standard deviation of the level of the next days, logit units.
    """

    model_config = ConfigDict(frozen=True)

    expected_spend_per_day: float | None = None
    forecast_level_sd: float | None = None
    expected_win_rate_low: float | None = None
    expected_win_rate_high: float | None = None
    expected_win_rate_low_80: float | None = None
    expected_win_rate_high_80: float | None = None
    expected_cpm_low: float | None = None
    expected_cpm_high: float | None = None
    expected_cpm_low_80: float | None = None
    expected_cpm_high_80: float | None = None
    expected_spend_per_day_low: float | None = None
    expected_spend_per_day_high: float | None = None
    expected_spend_per_day_low_80: float | None = None
    expected_spend_per_day_high_80: float | None = None
    expected_margin_low: float | None = None
    expected_margin_high: float | None = None
    expected_margin_low_80: float | None = None
    expected_margin_high_80: float | None = None


class PricedFigures(ForecastIntervals):
    """What a run's bids are, and what they are expected to bring. Money is CPM, shares are of requests.

    The first nine are measured from the bid table, see `optimizer.core.checks.measures.BidMeasures`.

    shadow_price_cpm: what one more win is worth beyond its value so that the target is met.
    target_shortfall: how far the expected win rate stays below the target.
    trust_low_cpm, trust_high_cpm: ends of the bids that the log knows.
    jitter_sd, step_limit, value_trust: of the run's `BidPolicy`.
    compared_segments: segments with a bid now and in the active run.
    reasons: reason of a bid -> number of segments.
    level_correction: added to all levels, logit units.
    is_learning: whether the slope is not known yet.
    segment_scope_cpm_ratio: CPM where every segment reaches the target on its own, over the CPM otherwise.
    """

    total_segments: int
    segments_count: int
    segments_in_memcache: int
    row_coverage: float
    bid_median: float | None
    bid_min: float | None
    bid_max: float | None
    jitter_spread: float
    largest_step: float
    shadow_price_cpm: float
    expected_win_rate: float
    target_shortfall: float
    expected_cpm: float
    expected_margin: float | None
    trust_low_cpm: float
    trust_high_cpm: float
    jitter_sd: float
    step_limit: float
    compared_segments: int
    value_trust: float
    reasons: Mapping[str, int]
    level_correction: float
    is_learning: bool
    fallback_bid_cpm: float
    segment_scope_cpm_ratio: float | None
    link: LinkRecord
    domains_count: int
    npis_count: int


class BidFigures(PricedFigures):
    """The figures of the bids, those of the active run beside them, and what the tables looked like when written.

    active_...: figures of the active run; None without one, or where it did not note them.
    active_run_problem: why the active run's bids cannot be compared with; None where they can.
    checksums: SHA-256 of the staged tables, by file name.
    identification: section `identification` of the run's metrics.
    """

    active_row_coverage: float | None = None
    active_segments_in_memcache: float | None = None
    active_expected_win_rate: float | None = None
    active_expected_cpm: float | None = None
    active_run_problem: str | None = None
    checksums: Mapping[str, str] = {}
    identification: Mapping[str, float | None] = {}

    @property
    def learning_metrics(self) -> dict[str, Mapping[str, float | None]]:
        """The sections of metrics.json that say whether and since when the run learns."""
        return {"identification": self.identification, "bidding": {"step_limit": self.step_limit}}
