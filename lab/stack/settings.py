"""What a local stack remembers between two starts: its ports and its secrets, in stack.json."""

import base64
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.stack.ports import PortClaims
from optimization_tracking.keys import new_key
from optimizer.errors import ConfigError

PREFERRED_PORTS = {"airflow_port": 8080, "warehouse_port": 8443, "objects_port": 9000}

# Linux allows 108 bytes and macOS 104; supervisord appends its own pid to the path while it binds.
_SOCKET_PATH_BYTES = 90


class StackSettings(BaseModel):
    """The content of stack.json. Secrets stay out of its repr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    airflow_port: int
    warehouse_port: int
    objects_port: int
    socket_path: Path
    airflow_user: str = "admin"
    airflow_password: str = Field(repr=False)
    airflow_fernet_key: str = Field(repr=False)
    airflow_jwt_secret: str = Field(repr=False)
    airflow_session_secret: str = Field(repr=False)
    warehouse_user: str = "OPTIMIZER_APP"
    warehouse_password: str = Field(repr=False)
    objects_access_key: str = Field(repr=False)
    objects_secret_key: str = Field(repr=False)
    # A home that is older than tracking gets them when it is opened next.
    tracking_password: str = Field(repr=False, default_factory=lambda: secrets.token_urlsafe(24))
    tracking_key: str = Field(repr=False, default_factory=new_key)


def create_settings(home: Path) -> StackSettings:
    """Return settings with the preferred ports, even if they are taken, and new random secrets."""
    return StackSettings(
        **PREFERRED_PORTS,
        socket_path=pick_socket_path(home),
        airflow_password=secrets.token_urlsafe(18),
        airflow_fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        airflow_jwt_secret=secrets.token_urlsafe(64),
        airflow_session_secret=secrets.token_urlsafe(32),
        warehouse_password=secrets.token_urlsafe(24),
        objects_access_key=secrets.token_hex(10).upper(),
        objects_secret_key=secrets.token_urlsafe(30),
    )


def read_settings(path: Path) -> StackSettings | None:
    """Return what stack.json holds, or None before the first use.

    Raises:
        ConfigError: the file is there but cannot be read as settings.
    """
    try:
        return StackSettings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or problem["type"] for problem in error.errors())
        raise ConfigError(f"{path} is no longer readable ({fields}); repair it, or move it away for new ones") from None


def write_settings(path: Path, *, settings: StackSettings) -> None:
    """Replace stack.json in one step, readable by its owner only."""
    write_private_file(path, text=settings.model_dump_json(indent=2) + "\n")


def write_private_file(path: Path, *, text: str) -> None:
    """Replace a file in one step; its mode is 0600 from the first byte on."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def claim_ports(settings: StackSettings, *, home: Path, claims: PortClaims) -> StackSettings:
    """Return the settings with all ports claimed, another one for each that is taken. Only for a stack that is down."""
    ports = {name: claims.claim(getattr(settings, name)) for name in PREFERRED_PORTS}
    path = settings.socket_path if settings.socket_path.parent.is_dir() else pick_socket_path(home)
    return settings.model_copy(update={**ports, "socket_path": path})


def pick_socket_path(home: Path) -> Path:
    """Return where supervisord listens; Postgres's socket is in the same folder.

    That is in the home, or in a short folder of our own where that path is too long, or has a comma: libpq would take
    it for two hosts.
    """
    path = home / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and "," not in str(path):
        return path
    return Path(tempfile.mkdtemp(prefix="optimizer-")) / "supervisor.sock"
