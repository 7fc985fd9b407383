"""What a run knows when it prices: what training learned, and what the active run bids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from optimizer.training.job import TrainingReport


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run knows when it prices: the segments and report of training, the cells of domains and NPIs.

    total_clicks: of the window; how far the value of a click-paid impression can be trusted depends on it.
    level_correction: what the last days' wins say of the forecasts that earlier runs made, logit units.
    """

    segments: pd.DataFrame
    report: TrainingReport
    features: Sequence[str]
    domain_cells: pd.DataFrame | None
    npi_totals: pd.DataFrame | None
    total_clicks: int
    level_correction: float = 0.0


@dataclass(frozen=True, slots=True)
class ActiveBids:
    """What the active run bids, by the new run's segment keys, CPM, and its fallback.

    step_from_cpm: the served bids that the daily step is measured from.
    kept_cpm: what bids go back to while they are held; the planned ones by default.
    """

    planned_cpm: Mapping[str, float]
    step_from_cpm: Mapping[str, float]
    fallback_cpm: float
    kept_cpm: Mapping[str, float] | None = None
