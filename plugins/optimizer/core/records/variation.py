"""variation.json: what of the log's bids varied at random."""

import math

from pydantic import BaseModel, ConfigDict

from optimizer.core.landscape.jitter import Variation
from optimizer.core.landscape.slope import Slope


class SlopeRecord(BaseModel):
    """A slope; None for a value or an error that is not finite."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    error: float | None
    is_identified: bool

    @property
    def slope(self) -> Slope | None:
        """The slope, None without a value."""
        if self.value is None:
            return None
        return Slope(self.value, math.inf if self.error is None else self.error, self.is_identified)


class TestRecord(BaseModel):
    """A test of the logged bids; None for a figure that is not finite."""

    model_config = ConfigDict(frozen=True)

    name: str
    figure: float | None
    relation: str
    limit: float
    is_passed: bool


class VariationRecord(BaseModel):
    """The fields of `optimizer.core.landscape.jitter.Variation`, with None for figures that are not finite."""

    model_config = ConfigDict(frozen=True)

    source: str
    slope: SlopeRecord | None
    own_days: int
    own_bids: float
    logged_bids: float
    logged_key: tuple[str, ...]
    tests: tuple[TestRecord, ...]
    own_since: str | None = None

    @classmethod
    def of(cls, variation: Variation) -> "VariationRecord":
        """Return the record of what was learned."""
        return cls.model_validate(variation.to_record())
