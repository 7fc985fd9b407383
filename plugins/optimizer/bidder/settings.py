"""The environment's variables, checked once."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import boto3
from botocore.config import Config
from pydantic import Field, ValidationInfo, field_validator
from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.bidder.copy_keeper import CopyKeeper
from optimizer.bidder.counting import Write, bidder_name
from optimizer.bidder.environment import read_environment, split_names
from optimizer.bidder.listening import DEFAULT_DRAIN_S
from optimizer.bidder.memcached import MAX_KEEP_S, Memcached
from optimizer.bidder.openrtb.settings import OPENRTB_VARIABLES, OpenRtbSettings
from optimizer.bidder.refreshing import Refresher
from optimizer.bidder.service import DEFAULT_INTERVAL_S
from optimizer.control_plane.bidder_counts import write_counts
from optimizer.control_plane.engine import open_engine

VARIABLES = {
    "control_plane_url": "OPTIMIZER_CONTROL_PLANE_URL",
    "entities": "OPTIMIZER_BIDDER_ENTITIES",
    "memcached": "OPTIMIZER_BIDDER_MEMCACHED",
    "memcached_timeout_ms": "OPTIMIZER_BIDDER_MEMCACHED_TIMEOUT_MS",
    "memcached_keep_s": "OPTIMIZER_BIDDER_MEMCACHED_KEEP_S",
    "interval_s": "OPTIMIZER_BIDDER_INTERVAL_S",
    "copy_folder": "OPTIMIZER_BIDDER_COPY_FOLDER",
    "max_age_s": "OPTIMIZER_BIDDER_MAX_AGE_S",
    "drain_s": "OPTIMIZER_BIDDER_DRAIN_S",
    **OPENRTB_VARIABLES,
}
"""Setting: variable."""

CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 5
"""For the control plane: a refresh reads a few rows, and the next one comes soon."""

LEAST_AGE_INTERVALS = 4
"""The shortest allowed limit of age, in refresh intervals."""

OBJECTS_TIMEOUT_S = 5
OBJECTS_ATTEMPTS = 2
"""For each step of a request to the object store, and how often it is made."""


class BidderSettings(OpenRtbSettings):
    """The bidder's settings from its environment."""

    control_plane_url: str = Field(min_length=1, repr=False)
    entities: tuple[str, ...] = ()
    memcached: tuple[tuple[str, int], ...] = ()
    memcached_timeout_ms: int = Field(50, ge=1, le=10_000)
    memcached_keep_s: int = Field(7 * 24 * 3600, ge=3600, le=MAX_KEEP_S)
    interval_s: float = Field(DEFAULT_INTERVAL_S, ge=1, le=86_400)
    copy_folder: Path | None = None
    max_age_s: float | None = None
    drain_s: float = Field(DEFAULT_DRAIN_S, ge=0, le=300)

    @field_validator("entities", mode="before")
    @classmethod
    def _split_entities(cls, text: object) -> object:
        return split_names(text)

    @field_validator("max_age_s")
    @classmethod
    def _check_age(cls, max_age_s: float | None, given: ValidationInfo) -> float | None:
        least = LEAST_AGE_INTERVALS * float(given.data.get("interval_s", DEFAULT_INTERVAL_S))
        if max_age_s is not None and max_age_s < least:
            raise ValueError(f"give at least {least:g}, {LEAST_AGE_INTERVALS} intervals: a refresh may be slow")
        return max_age_s

    @field_validator("memcached", mode="before")
    @classmethod
    def _split_servers(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        servers = [_read_address(part.strip()) for part in text.split(",") if part.strip()]
        if len(set(servers)) != len(servers):
            raise ValueError("a server is named twice")
        return servers


def read_settings(environment: Mapping[str, str] = os.environ) -> BidderSettings:
    """Return the settings; an empty variable counts as none.

    Raises:
        ConfigError: names every variable that is missing or wrong.
    """
    return read_environment(BidderSettings, VARIABLES, environment)


def connect(settings: BidderSettings) -> Refresher:
    """Return a refresher over the systems that the settings name; it has loaded nothing yet."""
    memcached = None
    if settings.memcached:
        timeout_s = settings.memcached_timeout_ms / 1000
        memcached = Memcached(settings.memcached, timeout_s=timeout_s, keep_s=settings.memcached_keep_s)
    return Refresher(
        engine=_open_control_plane(settings),
        store=ObjectStore(_connect_objects()),
        memcached=memcached,
        entity_codes=settings.entities,
        copies=CopyKeeper(settings.copy_folder),
    )


def count_writer(settings: BidderSettings, *, started_at: datetime) -> Write:
    """Return what writes this process's hourly counts to the control plane."""
    engine, bidder = _open_control_plane(settings), bidder_name(started_at=started_at)
    return lambda counts: write_counts(engine, bidder, counts, now=datetime.now(UTC))


def _read_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError("write host:port, e.g. memcached:11211 or [::1]:11211, with commas between several")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _open_control_plane(settings: BidderSettings) -> Engine:
    return open_engine(
        settings.control_plane_url, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S
    )


def _connect_objects() -> object:
    """S3 as boto3 finds it (AWS_PROFILE, AWS_ENDPOINT_URL, …); servers that are not Amazon's have one host for all."""
    has_endpoint = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    # A new session: boto3's default one keeps the credentials of the environment in which it was first used.
    return boto3.Session().client(
        "s3",
        config=Config(
            connect_timeout=OBJECTS_TIMEOUT_S,
            read_timeout=OBJECTS_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": OBJECTS_ATTEMPTS},
            s3={"addressing_style": "path"} if has_endpoint else {},
        ),
    )
