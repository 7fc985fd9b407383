"""The control plane that the command line looks into."""

import os

from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.errors import ConfigError
from optimizer.local.home import StackHome, default_home

URL_VARIABLE = "OPTIMIZER_CONTROL_PLANE_URL"


def connect() -> Engine:
    """Return an engine on the database of OPTIMIZER_CONTROL_PLANE_URL, else on the embedded stack's.

    Raises:
        ConfigError: neither is there.
    """
    if url := os.environ.get(URL_VARIABLE):
        return open_engine(url)
    path = StackHome(default_home()).control_plane
    if not path.exists():
        raise ConfigError(f"there is no control plane: run `make demo`, or set {URL_VARIABLE} to your database's URL")
    return open_engine(f"sqlite:///{path.resolve()}")
