"""What was coarser in the cells of a run than it could have been, because of `max_cells`."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from optimizer.core.landscape.cell_plan import CellPlan
from optimizer.core.landscape.features import FeatureScore
from optimizer.core.landscape.grain import Grain


class CoarseCells(BaseModel):
    """The part of totals.json about it.

    finest_cells: cells by all candidate features on the finest grain.
    left_out: candidate features that the cells are not by, with why; unjudged: those of which nothing is known;
        judged_on: the grain on which the others were found to make no difference.
    lost_key: features of the active run's key among them.
    domain_price_buckets: that many price buckets of the domain cells are one.
    cut: the tables of multipliers that hold those with the most bids alone: "domains", "NPIs".
    """

    model_config = ConfigDict(frozen=True)

    max_cells: int
    finest_cells: int
    grain: Grain
    left_out: tuple[FeatureScore, ...] = ()
    unjudged: tuple[str, ...] = ()
    judged_on: Grain | None = None
    lost_key: tuple[str, ...] = ()
    domain_price_buckets: int = 1
    cut: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        plan: CellPlan,
        *,
        max_cells: int,
        active_key: tuple[str, ...],
        domain_price_buckets: int = 1,
        cut: tuple[str, ...] = (),
    ) -> "CoarseCells | None":
        """Return what was coarsened; None where nothing was."""
        if plan.is_finest and domain_price_buckets == 1 and not cut:
            return None
        left_out = {score.feature_name for score in plan.left_out}
        return cls(
            max_cells=max_cells,
            finest_cells=plan.finest_cells,
            grain=plan.grain,
            left_out=plan.left_out,
            unjudged=plan.unjudged,
            judged_on=plan.judged_on,
            lost_key=tuple(feature for feature in active_key if feature in left_out),
            domain_price_buckets=domain_price_buckets,
            cut=cut,
        )

    def figures(self) -> Mapping[str, float]:
        """Return the figures of metrics.json."""
        return {
            "max_cells": self.max_cells,
            "finest_cells": self.finest_cells,
            "price_buckets": self.grain.price_buckets,
            "older_price_buckets": self.grain.older_price_buckets,
            "base_buckets": self.grain.base_buckets,
            "older_days": self.grain.older_days,
            "features_left_out": len(self.left_out),
            "features_unjudged": len(self.unjudged),
            "domain_price_buckets": self.domain_price_buckets,
            "multipliers_cut": len(self.cut),
        }
