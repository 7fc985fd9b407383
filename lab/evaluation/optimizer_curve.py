"""The win-rate curves and bids that the optimizer would learn from an auction log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.cells import MISSING
from optimizer.core.landscape.curves import Landscape, Link
from optimizer.core.landscape.hidden_floors import find_floors_by
from optimizer.core.landscape.jitter import learn_variation
from optimizer.core.records.window_totals import ViewCounts
from optimizer.core.serving.keys import segment_key
from optimizer.runs.cell_run import choose_key, training_cells, training_job
from optimizer.runs.learned import Learned
from optimizer.runs.pricing import price_run
from optimizer.training.fitting import FittedModels, fit

MOST_STEP, MOST_BID_CPM = 1.0, 1000.0
"""Neither the daily step nor a cap bounds the bids that are judged: a run takes several days to get as far."""


@dataclass(frozen=True, slots=True)
class OptimizerCurve:
    """What a run of the optimizer would learn: a level and a slope for each segment, their anchor's mean where unseen.

    features: of the segments, the anchor first.
    """

    features: tuple[str, ...]
    fitted: FittedModels = field(repr=False)

    @classmethod
    def fit(cls, cells: pd.DataFrame, candidates: Sequence[str], *, anchor: str) -> "OptimizerCurve":
        settings = RunSettings(anchor_feature=anchor)
        cells, _ = learn_variation(cells, candidates)
        features = choose_key(
            cells, candidates=candidates, settings=settings, floors=find_floors_by(cells, anchor)
        ).features
        views = ViewCounts(joined_views=int(cells["wins"].sum()), joined_clicks=0, orphan_views=0, orphan_clicks=0)
        job = training_job(features, settings=settings, views=views, seed=1, threads=1)
        return cls(features, fit(job, training_cells(cells, features)))

    def win_law(self, rows: pd.DataFrame) -> Callable[[np.ndarray], np.ndarray]:
        """Return P(win) of the rows as a function of their final bids: their curves are looked up once.

        The curves are of base bids, over the multipliers that the segment's requests have, and of final bids where the
        log shows no random variation of base bids.
        """
        report, curves = self.fitted.report, self._curves(rows)
        landscape = Landscape(report.reference_cpm, Link(tails=report.tails))
        log_multiplier = (rows["log_bid"] - rows["log_base"]).fillna(0.0).to_numpy()

        def win_rate(bid_cpm: np.ndarray) -> np.ndarray:
            price_cpm = bid_cpm if report.is_slope_naive else bid_cpm / np.exp(log_multiplier)
            return landscape.win_rate(curves["level"].to_numpy(), curves["slope"].to_numpy(), price_cpm)

        return win_rate

    def bids(self, rows: pd.DataFrame, *, target_win_rate: float, is_slope_trusted: bool) -> pd.DataFrame:
        """Return `bid_cpm` of each row, NaN where the optimizer does not bid, and whether it `is_held`.

        After as many daily steps as it takes. A row of a segment that the log does not have gets the fallback bid.
        """
        report, segments = self.fitted.report, self.fitted.segments
        if is_slope_trusted:
            report = report.model_copy(update={"is_slope_naive": False})
            segments = segments.assign(is_slope_identified=True)
        learned = Learned(segments, report, self.features, None, None, 0)
        settings = RunSettings(
            anchor_feature=self.features[0],
            target_win_rate=target_win_rate,
            daily_step_limit=MOST_STEP,
            max_bid_cpm=MOST_BID_CPM,
        )
        priced = price_run(learned, settings=settings, active=None, run_id="auction log")
        values = rows[list(self.features)].astype(str).to_numpy(object)
        keys = [segment_key([None if value == MISSING else value for value in row]) for row in values]
        table = priced.bids.set_index("segment_key")
        bid = pd.Series(keys).map(table["suggested_bid_cpm"])
        unknown = ~pd.Series(keys).isin(table.index)
        is_held = pd.Series(keys).map(table["is_held"].astype(float)).fillna(0.0)
        return pd.DataFrame({"bid_cpm": bid.mask(unknown, priced.figures.fallback_bid_cpm), "is_held": is_held > 0})

    def _curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Level and slope of each row."""
        features, curve = list(self.features), ["level", "slope"]
        segments = self.fitted.segments.fillna(dict.fromkeys(features, MISSING)).astype(dict.fromkeys(features, str))
        weights = segments["effective_bids"]
        weighed, anchor = segments[curve].mul(weights, axis=0), segments[features[0]]
        parents = weighed.groupby(anchor).sum().div(weights.groupby(anchor).sum(), axis=0)
        values = rows[features].astype(str)
        own = values.merge(segments[[*features, *curve]], how="left", on=features)[curve]
        parent = parents.reindex(values[features[0]]).reset_index(drop=True)
        return own.fillna(parent).fillna(weighed.sum() / weights.sum())
