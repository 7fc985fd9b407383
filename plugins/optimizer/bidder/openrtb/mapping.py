"""openrtb.toml: where a bid request has what the macros stand for, and how values are spelled in BIDS."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from optimizer.errors import ConfigError

DEFAULT_FILE = Path(__file__).with_name("openrtb.toml")
MAPPING_VARIABLE = "OPTIMIZER_BIDDER_OPENRTB"
"""Environment variable: a mapping of your own instead of openrtb.toml."""

Paths = tuple[str, ...]
Model = TypeVar("Model", bound=BaseModel)


class Identity(BaseModel):
    """The paths of the ids. `nobody`: ids of no user, or of many, in addition to those that are built in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    npi: Paths = ()
    npi_sources: frozenset[str] = frozenset()
    npi_data: frozenset[str] = frozenset()
    user_id: Paths = ()
    auction_id: Paths = ("id",)
    nobody: frozenset[str] = frozenset()


class Answering(BaseModel):
    """The paths of flags by which a request asks why there is no bid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reasons_asked: Paths = ()


class Mapped(BaseModel):
    """The contents of openrtb.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    macros: dict[str, Paths]
    identity: Identity = Identity()
    answer: Answering = Answering()
    countries: dict[str, tuple[str, ...]] = {}
    prefixes: dict[str, tuple[str, ...]] = {}
    values: dict[str, dict[str, str]] = {}
    values_where: dict[str, dict[str, tuple[str, ...]]] = {}


def read_mapping(file: Path | None = None) -> Mapped:
    """Return the mapping of the file, or the package's own.

    Raises:
        ConfigError: it cannot be read.
    """
    return read_toml(file or DEFAULT_FILE, Mapped, variable=MAPPING_VARIABLE, example=DEFAULT_FILE.name)


def read_toml(path: Path, model: type[Model], *, variable: str, example: str) -> Model:
    """Return the checked contents of a TOML file.

    Args:
        variable: the environment variable that names the file.
        example: the package's own file of this kind.

    Raises:
        ConfigError: it cannot be read, or says something else.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}; compare it with {example} of the package") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; correct {variable}") from None


def explain(error: ValidationError) -> str:
    """Return the first problem and its place; never the value, which may be personal data."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"
