"""What a run knows when it prices: what training learned, and what the active run bids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from optimizer.core.pricing.multipliers import domain_effects, npi_effects
from optimizer.training.job import TrainingReport


@dataclass(frozen=True, slots=True)
class Learned:
    """What a run knows when it prices: the segments and report of training, the effects of domains and NPIs.

    domains, npis: of `domain_effects` and `npi_effects`; None where they are not asked for.
    total_clicks: of the window; how far the value of a click-paid impression can be trusted depends on it.
    level_correction: what the last days' wins say of the forecasts that earlier runs made, logit units.
    """

    segments: pd.DataFrame
    report: TrainingReport
    features: Sequence[str]
    domains: pd.DataFrame | None
    npis: pd.DataFrame | None
    total_clicks: int
    level_correction: float = 0.0


def learn_effects(
    report: TrainingReport, *, domain_cells: pd.DataFrame | None, npi_totals: pd.DataFrame | None
) -> dict[str, pd.DataFrame | None]:
    """Return the fields `domains` and `npis` of `Learned`."""
    slope = None if report.is_slope_naive or report.is_held else report.bid_coefficient
    return {
        "domains": None if domain_cells is None else domain_effects(domain_cells, slope=slope),
        "npis": None if npi_totals is None else npi_effects(npi_totals),
    }


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
