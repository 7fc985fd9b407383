"""Any auction log as a CSV file: which columns are which, and rows that can be learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from optimizer.errors import ConfigError, DataError

TIME = ("time", "timestamp", "bid_ts", "bid_time", "datetime", "ts", "day", "date")
BID = ("bid_cpm", "bid_price", "bidprice", "bid")
WON = ("won", "win", "is_won", "is_win")
MARKET_PRICE = ("market_price", "market_price_cpm", "paying_price", "payprice", "pay_price", "cost_cpm", "cost")
BASE_BID = ("base_bid_cpm", "base_bid")
"""Names of the columns, the first that is there counts; case, spaces and hyphens do not matter."""

_KNOWN_LATER = ("view", "views", "click", "clicks", "clicked", "conversion", "conversions", "revenue")
_MADE_WITH_THE_BID = ("run_id", "domain_multiplier", "npi_multiplier")
NO_FEATURES = frozenset((*TIME, *BID, *WON, *MARKET_PRICE, *BASE_BID, *_KNOWN_LATER, *_MADE_WITH_THE_BID, "npi"))
"""Never features; an NPI is one person's."""

MAX_VALUES = 500
MIN_ROWS_A_VALUE = 20
"""A column is a feature where it has from 2 to MAX_VALUES distinct values, each on that many rows on average."""

_TRUTH = {"1": True, "true": True, "t": True, "yes": True, "0": False, "false": False, "f": False, "no": False}
_UNIX_UNITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_COMPACT_FORMATS = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}


@dataclass(frozen=True, slots=True)
class AuctionLog:
    """Auctions in order of time.

    rows: `time` (UTC), `bid_cpm`, `won`, `market_cpm` (the best rival's price) and `base_bid_cpm`, both NaN where
        unknown, and one text column for each feature, None where it has no value.
    features: name in the file by column; columns have names of their own, which collide with nothing.
    """

    name: str
    features: dict[str, str]
    rows: pd.DataFrame = field(repr=False)


def read_auction_log(path: Path) -> AuctionLog:
    """Return the log of a CSV file with a header; a file that ends in .tsv is split at tabs.

    Raises:
        ConfigError: the file does not exist, or a required column is missing.
        DataError: it is not a CSV file of auctions, or values cannot be read.
    """
    table = _read_table(path)
    file = _File(path.name, table)
    base = file.prices(file.find(BASE_BID))
    values = {
        "time": file.times(file.column(TIME, "the time of the auction")),
        "bid_cpm": file.prices(file.column(BID, "the bid"), is_needed=True),
        "won": file.outcomes(file.column(WON, "won or lost")),
        "market_cpm": file.prices(file.find(MARKET_PRICE)),
        "base_bid_cpm": base.where(base > 0),
    }
    chosen = file.choose_features()
    features = {f"feature_{number}": name for number, name in enumerate(chosen)}
    values |= {column: table[name].astype(object).where(table[name].notna(), None) for column, name in features.items()}
    rows = pd.DataFrame(values).sort_values("time", kind="stable", ignore_index=True)
    return AuctionLog(path.name, features, rows)


def _read_table(path: Path) -> pd.DataFrame:
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; name a CSV file, DATA=file.csv") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path.name} is not a CSV file with a header in UTF-8: {str(error).strip()}") from None
    if table.empty:
        raise DataError(f"{path.name} has no rows below its header; write one row an auction")
    return table


@dataclass(frozen=True, slots=True)
class _File:
    """A table of texts, and the errors that name its columns and rows."""

    name: str
    table: pd.DataFrame

    def find(self, names: Sequence[str]) -> str | None:
        """Return the column that bears the first of these names, None where none does."""
        plain = {_plain(column): column for column in reversed(self.table.columns)}
        return next((plain[name] for name in names if name in plain), None)

    def column(self, names: Sequence[str], what: str) -> str:
        if (column := self.find(names)) is not None:
            return column
        raise ConfigError(
            f"{self.name} has no column for {what}; call one {' or '.join(names)}; "
            f"columns found: {', '.join(self.table.columns)}"
        )

    def times(self, column: str) -> pd.Series:
        """Return ISO 8601, YYYYMMDD[hhmmss[fff]], Unix times (s to ns) or day numbers as UTC."""
        texts = self.table[column].fillna("").str.strip()
        length, is_number = int(texts.str.len().max()), bool(texts.str.fullmatch(r"\d+").all())
        if is_number and length <= 4:
            return pd.Timestamp("2000-01-01") + pd.to_timedelta(texts.astype(int), unit="D")
        if is_number and length in _UNIX_UNITS:
            return pd.to_datetime(texts.astype("int64"), unit=_UNIX_UNITS[length])
        form = _COMPACT_FORMATS.get(length, "ISO8601") if is_number else "ISO8601"
        parsed = pd.to_datetime(texts, format=form, errors="coerce", utc=True).dt.tz_localize(None)
        self._refuse(column, parsed.isna(), "write times like 2026-01-05T10:30:00, 20260105103000 or Unix seconds")
        return parsed

    def prices(self, column: str | None, *, is_needed: bool = False) -> pd.Series:
        """Return CPM; NaN without a column and, where it is not needed, without a value."""
        if column is None:
            return pd.Series(float("nan"), index=self.table.index)
        texts = self.table[column]
        numbers = pd.to_numeric(texts, errors="coerce").astype(float)
        if is_needed:
            self._refuse(column, ~(numbers.gt(0) & numbers.lt(float("inf"))), "bids are numbers above 0")
        else:
            broken = texts.notna() & ~(numbers.ge(0) & numbers.lt(float("inf")))
            self._refuse(column, broken, "prices are numbers from 0 up, or empty")
        return numbers

    def outcomes(self, column: str) -> pd.Series:
        won = self.table[column].fillna("").str.strip().str.lower().str.removesuffix(".0").map(_TRUTH)
        self._refuse(column, won.isna(), "write 1 or 0, true or false")
        return won.astype(bool)

    def choose_features(self) -> list[str]:
        """Return the columns of few enough distinct values."""
        most = min(MAX_VALUES, len(self.table) // MIN_ROWS_A_VALUE)
        others = [column for column in self.table.columns if _plain(column) not in NO_FEATURES]
        chosen = [column for column in others if 2 <= self.table[column].nunique(dropna=False) <= most]
        if not chosen:
            raise DataError(
                f"{self.name} has no feature: none of its other columns ({', '.join(others) or 'there are none'}) "
                f"has from 2 to {most} distinct values in {len(self.table)} rows; add features such as the ad space"
            )
        return chosen

    def _refuse(self, column: str, broken: pd.Series, wanted: str) -> None:
        if broken.any():
            first = int(broken.to_numpy().argmax())
            value = self.table[column].iloc[first]
            shown = "empty" if pd.isna(value) else repr(value)
            raise DataError(
                f"{self.name}: column {column!r} cannot be read in {int(broken.sum())} of {len(broken)} rows, "
                f"first in row {first + 1}: {shown}; {wanted}"
            )


def _plain(column: str) -> str:
    return column.strip().lower().replace(" ", "_").replace("-", "_")
