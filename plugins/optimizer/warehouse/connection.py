"""Errors of the Snowflake connector in the optimizer's own words."""

from collections.abc import Iterator
from contextlib import contextmanager

from snowflake.connector import errors

from optimizer.errors import UnavailableError, WarehouseError

# Numbers of the connector's and the server's errors.
_LOGIN_ERRORS = {250001, 250006, 390100, 390101, 390102, 390104, 390144, 394508}
_CONTRACT_ERRORS = {
    904: "a column is missing",
    2003: "a table is missing or may not be read",
    2043: "an object is missing or may not be read",
    3001: "the account may not do this",
}


@contextmanager
def warehouse_errors(what: str) -> Iterator[None]:
    """Turn the connector's errors into WarehouseError (needs a fix) or UnavailableError (may pass).

    Args:
        what: what was being done, for the message.
    """
    try:
        yield
    except errors.ProgrammingError as error:
        reason = _CONTRACT_ERRORS.get(error.errno, "the warehouse refused the statement")
        raise WarehouseError(f"{what}: {reason}: {_text(error)}; check the tables of the warehouse contract") from error
    except (errors.DatabaseError, errors.InterfaceError) as error:
        if _is_denied_login(error):
            raise WarehouseError(
                f"{what}: the warehouse denied the login: {_text(error)}; check login and password of the "
                "Airflow connection optimizer_warehouse"
            ) from error
        raise UnavailableError(f"{what}: the warehouse did not answer: {_text(error)}") from error


def _is_denied_login(error: errors.Error) -> bool:
    text = str(error).lower()
    return error.errno in _LOGIN_ERRORS and ("incorrect username" in text or "390100" in text or "authenticat" in text)


def _text(error: errors.Error) -> str:
    return " ".join(str(error.msg or error).split())
