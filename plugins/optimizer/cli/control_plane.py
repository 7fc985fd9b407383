"""The control plane that the command line works on."""

import os

from sqlalchemy import Engine

from optimizer.control_plane.engine import open_engine
from optimizer.errors import ConfigError

URL_VARIABLE = "OPTIMIZER_CONTROL_PLANE_URL"


def connect() -> Engine:
    """Return an engine on the database of OPTIMIZER_CONTROL_PLANE_URL.

    Raises:
        ConfigError: the variable is not set.
    """
    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise ConfigError(
            f"{URL_VARIABLE} is not set; set it to the URL of your control plane "
            "(mysql+pymysql://user:password@host/database), or add --local to work on the demo's"
        )
    return open_engine(url)
