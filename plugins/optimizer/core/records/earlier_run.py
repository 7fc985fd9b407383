"""What a run reads of an earlier run's metrics."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from optimizer.core.pricing.forecast import EarlierForecast


class EarlierFigures(BaseModel):
    """Figures of section `bidding` of an earlier run's metrics.json; None where its release did not note them."""

    model_config = ConfigDict(frozen=True)

    row_coverage: float | None = None
    segments_in_memcache: float | None = None
    expected_win_rate: float | None = None
    expected_cpm: float | None = None
    level_correction: float | None = None
    jitter_sd: float | None = None

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> "EarlierFigures":
        """Return the figures of a metrics.json."""
        return cls.model_validate(metrics.get("bidding") or {})

    @property
    def forecast(self) -> EarlierForecast | None:
        """What the run forecast of its own days, by bid: requests that it blocks leave none in the log.

        None where it did not say.
        """
        if self.expected_win_rate is None or not self.row_coverage:
            return None
        return EarlierForecast(self.expected_win_rate / self.row_coverage, self.level_correction or 0.0)
