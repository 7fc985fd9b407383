"""The tracking database of a local stack: made, migrated, and given a key for the stack's own runs."""

from lab.stack.home import StackHome
from lab.stack.postgres import ADMIN, embedded_programs, initialize, socket_url
from lab.stack.settings import StackSettings
from optimization_tracking.connections import connect
from optimization_tracking.keys import ensure_key, ensure_project
from optimization_tracking.schema import migrate
from optimizer.errors import OptimizerError
from optimizer.names import TRACKING_PROJECT

DATABASE = "tracking"
OWNER = "tracking_owner"
"""Owns the tables, is not a superuser and bypasses no row-level security, as in production."""


def tracking_url(settings: StackSettings) -> str:
    """Return the URL of the tracking database; it holds a secret."""
    return _url(settings, user=OWNER, database=DATABASE)


def make_data_folder(settings: StackSettings, *, home: StackHome) -> None:
    """Make the server's data folder where it is missing, which takes a second or two.

    Raises:
        ConfigError: Postgres is not installed, or there is no user other than root to run it.
    """
    initialize(home.tracking, password=settings.tracking_password, programs=embedded_programs())


def tracking_problem(settings: StackSettings) -> str | None:
    """Return why the server does not answer, or None where it does."""
    try:
        connect(admin_url(settings)).close()
    except OptimizerError as error:
        return str(error)
    return None


def prepare_tracking(settings: StackSettings) -> None:
    """Bring the running server's database to this code's revision; may be repeated.

    Raises:
        UnavailableError: the server does not answer.
    """
    with connect(admin_url(settings), autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone():
            # The password is URL-safe: it holds no quote.
            admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{settings.tracking_password}'")
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    migrate(tracking_url(settings))
    with connect(tracking_url(settings)) as connection:
        ensure_project(connection, TRACKING_PROJECT)
        ensure_key(connection, TRACKING_PROJECT, name="local stack", key=settings.tracking_key)


def admin_url(settings: StackSettings, *, database: str = ADMIN) -> str:
    """Return the URL of a database for the server's superuser; it holds a secret."""
    return _url(settings, user=ADMIN, database=database)


def _url(settings: StackSettings, *, user: str, database: str) -> str:
    folder = settings.socket_path.parent
    return socket_url(folder, user=user, password=settings.tracking_password, database=database)
