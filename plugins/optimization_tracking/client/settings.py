"""Where the service is, whose key is used, and where waits what could not be sent yet."""

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from optimizer.errors import ConfigError
from optimizer.names import TRACKING_API_URL_VARIABLE, TRACKING_KEY_VARIABLE, TRACKING_PREFIX, TRACKING_QUEUE_VARIABLE

TIMEOUT_S = 10.0
MAX_QUEUE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client needs to know. `base_url` ends before /runs; the key is never printed."""

    base_url: str
    key: str = field(repr=False)
    queue_folder: Path = field(default_factory=lambda: default_queue_folder())
    timeout_s: float = TIMEOUT_S
    max_queue_bytes: int = MAX_QUEUE_BYTES

    def __post_init__(self) -> None:
        parts = _parts(self.base_url.strip())
        if not self.key.isascii() or not self.key.strip():
            raise ConfigError(f"{TRACKING_KEY_VARIABLE} holds no key; `keys create` makes one")
        path = parts.path.rstrip("/") or TRACKING_PREFIX
        object.__setattr__(self, "base_url", f"{parts.scheme}://{parts.netloc}{path}")
        object.__setattr__(self, "key", self.key.strip())
        object.__setattr__(self, "queue_folder", self.queue_folder.absolute())  # a program may change its directory

    @classmethod
    def from_environment(cls) -> "ClientSettings":
        """Return the settings of OPTIMIZER_TRACKING_API_URL, _KEY and, where it is set, _QUEUE.

        Raises:
            ConfigError: the address or the key is missing or cannot be read.
        """
        names = (TRACKING_API_URL_VARIABLE, TRACKING_KEY_VARIABLE)
        if missing := [name for name in names if not os.environ.get(name)]:
            raise ConfigError(f"set {' and '.join(missing)} to reach the tracking service")
        return cls(base_url=os.environ[TRACKING_API_URL_VARIABLE], key=os.environ[TRACKING_KEY_VARIABLE])

    @property
    def destination(self) -> str:
        """Address and key as one digest: what waits for one destination is never sent to another."""
        return hashlib.sha256(f"{self.base_url}\n{self.key}".encode()).hexdigest()


def _parts(address: str) -> SplitResult:
    """Return the address in its parts.

    Raises:
        ConfigError: its scheme, host or port is none, or it holds a login, which would be sent in place of the key.
    """
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").encode("idna"), httpx.URL(address)
        is_usable = host and b" " not in host and parts.port != 0 and "@" not in parts.netloc
    except (ValueError, httpx.InvalidURL):
        is_usable = False
    if not is_usable or parts.scheme not in ("http", "https"):
        shown = re.sub(r"(?<=//).*(?=@)|sk_live_\S*", "…", address)  # a login, or the key where the key should not be
        raise ConfigError(
            f"{TRACKING_API_URL_VARIABLE}={shown!r} is not an address of a service; set it to one like "
            "http://127.0.0.1:8400: http or https, a host, and its port, without a login"
        )
    return parts


def is_configured() -> bool:
    """Return whether the environment names a tracking service."""
    return bool(os.environ.get(TRACKING_API_URL_VARIABLE))


def default_queue_folder() -> Path:
    """Return OPTIMIZER_TRACKING_QUEUE, or a folder of the user's state."""
    if named := os.environ.get(TRACKING_QUEUE_VARIABLE):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "optimizer-tracking"
