"""The bases of every model, and the one place where snake_case becomes camelCase."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Given(BaseModel):
    """Base of what callers send: an unknown name is an error, and so is the name in snake_case."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", serialize_by_alias=False)


class Answer(BaseModel):
    """Base of what is answered; reads rows by their columns and JSON by its camelCase names."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
