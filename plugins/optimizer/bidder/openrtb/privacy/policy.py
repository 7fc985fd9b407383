"""Which privacy signal withholds what: privacy.toml, or a file of your own."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from optimizer.bidder.openrtb.mapping import read_toml

DEFAULT_FILE = Path(__file__).with_name("privacy.toml")
POLICY_VARIABLE = "OPTIMIZER_BIDDER_PRIVACY"
"""Environment variable: a policy of your own instead of privacy.toml."""


class Signal(StrEnum):
    """A statement of a bid request about the user's privacy."""

    COPPA = "coppa"
    GDPR = "gdpr"
    GPP = "gpp"
    US_PRIVACY = "us_privacy"
    GPC = "gpc"
    LMT = "lmt"
    DNT = "dnt"
    REGS = "regs"  # regs cannot be read, so that nobody knows what it says


class Withheld(StrEnum):
    """What a signal takes from a price."""

    NPI = "npi"  # no NPI multiplier
    USER_ID = "user_id"  # the auction id decides the run
    BID = "bid"  # no bid at all


class Gdpr(BaseModel):
    """The purposes of TCF that need consent, and the vendor (its number in the Global Vendor List) that does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    purposes: tuple[Annotated[int, Field(ge=1, le=24)], ...] = Field((1, 3, 4), min_length=1)
    vendor_id: int | None = Field(None, ge=1, le=65_535)


class PrivacyPolicy(BaseModel):
    """The contents of privacy.toml. A signal that is not named withholds as much as the careful default does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    withhold: dict[Signal, frozenset[Withheld]] = {}
    gdpr: Gdpr = Gdpr()

    def withheld_for(self, signal: Signal) -> frozenset[Withheld]:
        """Return what the signal withholds."""
        return self.withhold.get(signal, CAREFUL)


CAREFUL = frozenset({Withheld.NPI, Withheld.USER_ID})
"""What every signal withholds by default."""


def read_policy(file: Path | None = None) -> PrivacyPolicy:
    """Return the policy of the file, or the package's own.

    Raises:
        ConfigError: it cannot be read, or says something else.
    """
    return read_toml(file or DEFAULT_FILE, PrivacyPolicy, variable=POLICY_VARIABLE, example=DEFAULT_FILE.name)
