"""Currencies: exchange rates from a file, and which currency an auction is answered in."""

import json
import logging
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from optimizer.bidder.openrtb.mapping import explain
from optimizer.bidder.openrtb.oddities import Oddities, Oddity
from optimizer.errors import ConfigError

DEFAULT_CURRENCY = "USD"
"""Of floors and prices where a request names none: OpenRTB's own default."""

CURRENCY_VARIABLE = "OPTIMIZER_BIDDER_CURRENCY"
RATES_VARIABLE = "OPTIMIZER_BIDDER_RATES"
"""Environment variables: our currency, and a file of exchange rates."""

LEAST_RATE, LARGEST_RATE = 1e-12, 1e12
"""No currency is so far from another; such a rate would make prices of zero or without end."""

DEFAULT_MAX_AGE_DAYS = 3
_TOMORROW = timedelta(days=1)

log = logging.getLogger(__name__)


class Rates(BaseModel):
    """The contents of a file of exchange rates: units of each currency for one unit of the base currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: date
    base: str = DEFAULT_CURRENCY
    rates: dict[str, Annotated[float, Field(ge=LEAST_RATE, le=LARGEST_RATE)]]

    @field_validator("base", mode="after")
    @classmethod
    def _spell_base(cls, base: str) -> str:
        return spell_currency(base)

    @field_validator("rates", mode="after")
    @classmethod
    def _spell_rates(cls, rates: dict[str, float]) -> dict[str, float]:
        return {spell_currency(code): rate for code, rate in rates.items()}

    def factor(self, currency: str, *, into: str) -> float | None:
        """Return how many units of `into` one unit of the currency is, or None where a rate is missing."""
        per_base = {**self.rates, self.base: 1.0}
        if currency not in per_base or into not in per_base:
            return None
        return per_base[into] / per_base[currency]


class RateFile:
    """A file of exchange rates, read again when it changes, and refused when its date is too long ago.

    A file that cannot be read leaves the rates before it in use, until they are too old.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_age_days: int = DEFAULT_MAX_AGE_DAYS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read.
        """
        self._path, self._max_age, self._clock = path, timedelta(days=max_age_days), clock
        self._version = _version_of(path)
        self._rates = read_rates(path)
        self._problem: str | None = None

    def factor(self, currency: str, *, into: str) -> float | None:
        """Return how many units of `into` one unit of the currency is, or None where no rate that holds says so."""
        self._renew()
        return None if self._age_problem() else self._rates.factor(currency, into=into)

    def status(self) -> dict[str, Any]:
        """Return the date of the rates and what is wrong with them, as JSON's types."""
        self._renew()
        return {"date": self._rates.date.isoformat(), "problem": self._problem or self._age_problem()}

    def _renew(self) -> None:
        version = _version_of(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._rates, self._problem = read_rates(self._path), None
        except ConfigError as error:
            self._problem = str(error)
            log.error("the exchange rates were not renewed, those of %s stay: %s", self._rates.date, error)

    def _age_problem(self) -> str | None:
        today = self._clock().date()
        if today - self._rates.date > self._max_age:
            return f"the rates of {self._rates.date} are older than {self._max_age.days} days; renew {self._path.name}"
        if self._rates.date - today > _TOMORROW:
            return f"the date of the rates, {self._rates.date}, has not come; correct {self._path.name}"
        return None


@dataclass(frozen=True, slots=True)
class Answered:
    """The currency that an auction is answered in, and its units for one unit of ours."""

    currency: str
    factor: float = 1.0


class Exchange:
    """Our currency, and the rates to others where there is a file of them."""

    def __init__(self, currency: str, rates: RateFile | None = None) -> None:
        self.currency, self.rates = currency, rates
        self.ours = Answered(currency)

    def choose(self, allowed: list[str] | None, oddities: Oddities) -> Answered | None:
        """Return the currency to answer in: ours where it is allowed or none is named, else the first with a rate.

        Args:
            allowed: the codes that the auction allows; None: they cannot be read.
        """
        if not allowed:
            return None if allowed is None else self.ours
        codes = [spell_currency(code) for code in allowed]
        if codes != allowed:
            oddities.append(Oddity.LETTER_CASE)
        if self.currency in codes:
            return self.ours
        priced = ((code, self.factor(self.currency, into=code)) for code in codes)
        return next((Answered(code, factor) for code, factor in priced if factor is not None), None)

    def status(self) -> dict[str, Any] | None:
        """Return the state of the rates, as JSON's types; None without a file of them."""
        return None if self.rates is None else self.rates.status()

    def in_ours(self, amount: float, currency: str) -> float | None:
        """Return the amount in our currency, or None where no rate is known."""
        code = currency if currency == self.currency else spell_currency(currency)
        if code == self.currency:
            return amount
        factor = self.factor(code, into=self.currency)
        return None if factor is None else amount * factor

    def factor(self, currency: str, *, into: str) -> float | None:
        """Return how many units of `into` one unit of the currency is, or None."""
        return None if self.rates is None else self.rates.factor(currency, into=into)


def spell_currency(code: str) -> str:
    """Return a currency's code as ISO 4217 writes it."""
    return code.strip().upper()


def read_rates(path: Path) -> Rates:
    """Return the rates of a file in JSON (its name ends with .json) or TOML.

    Raises:
        ConfigError: it cannot be read, or has an amount that is not a rate.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found: Mapping[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Rates.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}; correct {RATES_VARIABLE}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; correct {RATES_VARIABLE}") from None


def _version_of(path: Path) -> tuple[int, int, int] | None:
    """What changes with the file; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
