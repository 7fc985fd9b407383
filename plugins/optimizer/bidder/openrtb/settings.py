"""The environment's variables that say how bid requests are read and answered."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from optimizer.bidder.environment import read_environment, split_names
from optimizer.bidder.openrtb.auctions import DEFAULT_LEAST_ANSWER_MS, Terms
from optimizer.bidder.openrtb.mapping import MAPPING_VARIABLE, read_mapping
from optimizer.bidder.openrtb.money import (
    CURRENCY_VARIABLE,
    DEFAULT_CURRENCY,
    DEFAULT_MAX_AGE_DAYS,
    RATES_VARIABLE,
    RateFile,
)
from optimizer.bidder.openrtb.privacy.policy import POLICY_VARIABLE, read_policy
from optimizer.bidder.openrtb.reading import OpenRtb

OPENRTB_VARIABLES = {
    "currency": CURRENCY_VARIABLE,
    "openrtb_file": MAPPING_VARIABLE,
    "privacy_file": POLICY_VARIABLE,
    "rates_file": RATES_VARIABLE,
    "rates_max_age_days": "OPTIMIZER_BIDDER_RATES_MAX_AGE_DAYS",
    "seat": "OPTIMIZER_BIDDER_SEAT",
    "deals": "OPTIMIZER_BIDDER_DEALS",
    "states_reasons": "OPTIMIZER_BIDDER_NBR",
    "least_answer_ms": "OPTIMIZER_BIDDER_LEAST_ANSWER_MS",
}
"""Setting: variable."""


class OpenRtbSettings(BaseModel):
    """How bid requests are read and answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: str = Field(DEFAULT_CURRENCY, pattern="^[A-Z]{3}$")
    openrtb_file: Path | None = None
    privacy_file: Path | None = None
    rates_file: Path | None = None
    rates_max_age_days: int = Field(DEFAULT_MAX_AGE_DAYS, ge=0, le=366)
    seat: str = ""
    deals: frozenset[str] = frozenset()
    states_reasons: bool = False
    least_answer_ms: float = Field(DEFAULT_LEAST_ANSWER_MS, ge=0, le=10_000)

    @field_validator("deals", mode="before")
    @classmethod
    def _split_deals(cls, text: object) -> object:
        return split_names(text)


def open_openrtb(settings: OpenRtbSettings) -> OpenRtb:
    """Return the reader that the settings choose.

    Raises:
        ConfigError: a file that they name cannot be read.
    """
    file = settings.rates_file
    rates = None if file is None else RateFile(file, max_age_days=settings.rates_max_age_days)
    return OpenRtb(
        read_mapping(settings.openrtb_file),
        currency=settings.currency,
        rates=rates,
        policy=read_policy(settings.privacy_file),
        terms=Terms(settings.seat, settings.deals, settings.states_reasons, settings.least_answer_ms),
    )


def openrtb_from(environment: Mapping[str, str]) -> OpenRtb:
    """Return the reader that the environment's variables choose, as the bidder's own settings do.

    Raises:
        ConfigError: a variable is wrong, or a file that it names cannot be read.
    """
    return open_openrtb(read_environment(OpenRtbSettings, OPENRTB_VARIABLES, environment))
