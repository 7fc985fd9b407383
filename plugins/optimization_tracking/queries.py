"""The statements of include/sql/postgres/, by name."""

from functools import lru_cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optimizer.sql_files import sql_folder

SQL_FOLDER = sql_folder("postgres")

_environment = Environment(  # noqa: S701 - SQL, not HTML; values are bound, and `asked` only selects fixed texts
    loader=FileSystemLoader(SQL_FOLDER),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@lru_cache(maxsize=1000)
def render_query(name: str, *, asked: frozenset[str] = frozenset(), **choices: str) -> bytes:
    """Return include/sql/postgres/<name>.sql; values stay bind parameters.

    Args:
        asked: which of the statement's optional conditions it has.
        choices: words of our own, e.g. the column of an order; never a caller's text.
    """
    return _environment.get_template(f"{name}.sql").render(asked=asked, **choices).encode()
