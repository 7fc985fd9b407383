"""Settings from the environment's variables."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from optimizer.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)


def read_environment(model: type[Settings], variables: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings; an empty variable counts as none.

    Args:
        variables: variable by setting.

    Raises:
        ConfigError: names every variable that is missing or wrong.
    """
    given = {name: environment[variable] for name, variable in variables.items() if environment.get(variable)}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{variables[str(item['loc'][0])]}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the bidder's settings cannot be used: {wrong}") from None


def split_names(text: object) -> object:
    """Return the names of a text that commas separate; anything else as it is."""
    return [name.strip() for name in text.split(",") if name.strip()] if isinstance(text, str) else text
