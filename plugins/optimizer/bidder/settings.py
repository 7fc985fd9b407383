"""The environment's variables, checked once."""

import os
from collections.abc import Mapping
from pathlib import Path

import boto3
from botocore.config import Config
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.refreshing import Refresher
from optimizer.bidder.service import DEFAULT_INTERVAL_S
from optimizer.bidder.tables import MAX_KEEP_S, Memcached
from optimizer.control_plane.engine import open_engine
from optimizer.errors import ConfigError

VARIABLES = {
    "control_plane_url": "OPTIMIZER_CONTROL_PLANE_URL",
    "entities": "OPTIMIZER_BIDDER_ENTITIES",
    "memcached": "OPTIMIZER_BIDDER_MEMCACHED",
    "memcached_timeout_ms": "OPTIMIZER_BIDDER_MEMCACHED_TIMEOUT_MS",
    "memcached_keep_s": "OPTIMIZER_BIDDER_MEMCACHED_KEEP_S",
    "interval_s": "OPTIMIZER_BIDDER_INTERVAL_S",
    "currency": "OPTIMIZER_BIDDER_CURRENCY",
    "openrtb_file": "OPTIMIZER_BIDDER_OPENRTB",
}
"""Setting: variable."""


class BidderSettings(BaseModel):
    """The bidder's settings from its environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control_plane_url: str = Field(min_length=1, repr=False)
    entities: tuple[str, ...] = ()
    memcached: tuple[str, int] | None = None
    memcached_timeout_ms: int = Field(50, ge=1, le=10_000)
    memcached_keep_s: int = Field(7 * 24 * 3600, ge=3600, le=MAX_KEEP_S)
    interval_s: float = Field(DEFAULT_INTERVAL_S, ge=1, le=86_400)
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    openrtb_file: Path | None = None

    @field_validator("entities", mode="before")
    @classmethod
    def _split_entities(cls, text: object) -> object:
        return [code.strip() for code in text.split(",") if code.strip()] if isinstance(text, str) else text

    @field_validator("memcached", mode="before")
    @classmethod
    def _split_address(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ValueError("write host:port, e.g. memcached:11211 or [::1]:11211")
        return host.removeprefix("[").removesuffix("]"), int(port)


def read_settings(environment: Mapping[str, str] = os.environ) -> BidderSettings:
    """Return the settings; an empty variable counts as none.

    Raises:
        ConfigError: names every variable that is missing or wrong.
    """
    given = {name: environment[variable] for name, variable in VARIABLES.items() if environment.get(variable)}
    try:
        return BidderSettings.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{VARIABLES[str(item['loc'][0])]}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the bidder's settings cannot be used: {wrong}") from None


def connect(settings: BidderSettings) -> Refresher:
    """Return a refresher over the systems that the settings name; it has loaded nothing yet."""
    memcached = None
    if settings.memcached:
        timeout_s = settings.memcached_timeout_ms / 1000
        memcached = Memcached(*settings.memcached, timeout_s=timeout_s, keep_s=settings.memcached_keep_s)
    return Refresher(
        engine=open_engine(settings.control_plane_url),
        store=ObjectStore(_connect_objects()),
        memcached=memcached,
        entity_codes=settings.entities,
    )


def _connect_objects() -> object:
    """S3 as boto3 finds it (AWS_PROFILE, AWS_ENDPOINT_URL, …); servers that are not Amazon's have one host for all."""
    has_endpoint = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    return boto3.client(
        "s3",
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path"} if has_endpoint else {},
        ),
    )
