"""The databases that the control plane may have, and the driver by which the tests reach each."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.schema import migrate

DRIVERS = {"mariadb": "mysql+pymysql", "mysql": "mysql+mysqlconnector"}
NO_TLS = {"mysql": "?ssl_disabled=true"}
"""What a URL ends with for connections that are not encrypted: PyMySQL's are not by themselves."""

DATABASES = ("sqlite", *DRIVERS)


def new_control_plane(path: Path, fill: Callable[[Engine], object] | None = None) -> Engine:
    """Return an engine on a new SQLite file, migrated and filled.

    It is a copy of the first one that this process filled so: to migrate takes longer than most tests.
    """
    path.write_bytes(_content(fill))
    return open_engine(f"sqlite:///{path}")


@cache
def _content(fill: Callable[[Engine], object] | None) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "control_plane.db"
        engine = open_engine(f"sqlite:///{path}")
        migrate(engine)
        if fill is not None:
            fill(engine)
        engine.dispose()
        return path.read_bytes()
