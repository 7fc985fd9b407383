"""The statements of include/sql/postgres/, by name."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optimizer.errors import ConfigError

SQL_FOLDER = Path(__file__).resolve().parents[3] / "include" / "sql" / "postgres"

_environment = Environment(  # noqa: S701 - SQL, not HTML; values are bound, what is asked for chooses between fixed texts
    loader=FileSystemLoader(SQL_FOLDER),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def require_sql() -> None:
    """Pass where the statements are.

    Raises:
        ConfigError: they are not: this is an installed package, which has the code alone.
    """
    if not SQL_FOLDER.is_dir():
        raise ConfigError(
            f"the tracking service has no SQL: {SQL_FOLDER} is missing; run it from a checkout, where plugins/ and "
            "include/sql/ stand side by side (an installed package has the client, but not the SQL)"
        )


@lru_cache(maxsize=1000)
def render_query(name: str, *, asked: frozenset[str] = frozenset(), **choices: str) -> bytes:
    """Return include/sql/postgres/<name>.sql; values stay bind parameters.

    Args:
        asked: which of the statement's optional conditions it has.
        choices: words of our own, e.g. the column of an order; never a caller's text.

    Raises:
        ConfigError: as `require_sql`.
    """
    require_sql()
    return _environment.get_template(f"{name}.sql").render(asked=asked, **choices).encode()
