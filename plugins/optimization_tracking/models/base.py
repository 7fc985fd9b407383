"""The bases of every model, and the one place where snake_case becomes camelCase."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

CLIENT_ID = "clientRunId"
"""The key in a run's metadata under which a program's own id of it stands."""

MAX_FIELDS = 50
"""No request has that many."""


class Given(BaseModel):
    """Base of what callers send: an unknown name is an error, and so is the name in snake_case."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", serialize_by_alias=False)

    @model_validator(mode="before")
    @classmethod
    def _count_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > MAX_FIELDS:  # or each unknown one would be an error of its own
            raise ValueError(f"has {len(given):,} fields; the request has {len(cls.model_fields)}")
        return given


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
