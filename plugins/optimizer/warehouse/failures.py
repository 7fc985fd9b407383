"""Errors of the Snowflake connector in the optimizer's own words, by their numbers: what can pass and what cannot."""

from collections.abc import Iterator
from contextlib import contextmanager

from snowflake.connector import errors

from optimizer.errors import UnavailableError, WarehouseError

CONNECTION = "the Airflow connection optimizer_warehouse"
"""What to look at where the login fails."""

# Numbers of the server's errors, and from 250000 to 260000 of the connector's.
_LOGIN = {
    **dict.fromkeys((390100, 390101, 390102, 390103, 390104), "check login and password of"),
    **dict.fromkeys((390144, *range(394300, 394310), 251008), "check user, private key and its passphrase in"),
    **dict.fromkeys((390303, 390317), "check the OAuth token of"),
    **dict.fromkeys((390186, 390189, 390201), "check role, warehouse, database and schema of"),
    **dict.fromkeys((390420, 390422, 390432), "let this address into the network policy, or change the host of"),
    **dict.fromkeys((394507, 394508), "use a key pair instead of a login with MFA in"),
    **dict.fromkeys((250007, 251001, 251009, 290403, 290404), "check account and host of"),
    **dict.fromkeys((251005, 251006, 251007, 251013, 251020), "complete the login of"),
}
"""What to do with the connection where the login is denied."""

_CONTRACT = {
    904: "a column is missing",
    2003: "a table is missing or may not be read",
    2043: "an object is missing or may not be read",
    3001: "the account may not do this",
    90105: "the connection names no database",
    90106: "the connection names no schema",
}

_PASSING = {
    603: "it failed inside; Snowflake has an incident of it",
    604: "the statement was canceled",
    606: "no warehouse is active: resume it, let it resume by itself, or name one in the connection",
    612: "its result is gone",
    625: "the statement waited too long for the warehouse: give it more clusters, or a time with less load",
    630: "the statement reached its time-out: raise OPTIMIZER_STATEMENT_TIMEOUT_S or the warehouse's own limit",
    90073: "the warehouse cannot resume: its resource monitor has no credits left",
    **dict.fromkeys((390110, 390111, 390112, 390113, 390114, 390115, 390195, 390318), "the session has expired"),
    **dict.fromkeys((250002, 251010, 252006), "the connection was closed"),
}
"""What a new try in a new session may not meet again."""

_LOGIN_WORDS = ("incorrect username", "jwt token is invalid", "authentication failed", "role specified in the connect")


@contextmanager
def warehouse_errors(what: str) -> Iterator[None]:
    """Turn the connector's errors into WarehouseError (needs a fix) or UnavailableError (may pass).

    Args:
        what: what was being done, for the message.
    """
    try:
        yield
    except errors.Error as error:  # also those of HTTP, which are no DatabaseError
        raise _explain(error, what=what) from error


def _explain(error: errors.Error, *, what: str) -> WarehouseError | UnavailableError:
    number, text = _number(error), " ".join(str(error.msg or error).split())
    if number in _PASSING:
        return UnavailableError(f"{what}: {_PASSING[number]} ({text})")
    if todo := _LOGIN.get(number):
        return WarehouseError(f"{what}: the warehouse denied the login: {text}; {todo} {CONNECTION}")
    if any(word in text.lower() for word in _LOGIN_WORDS):
        return WarehouseError(f"{what}: the warehouse denied the login: {text}; check {CONNECTION}")
    if isinstance(error, errors.ProgrammingError | errors.DataError | errors.IntegrityError | errors.NotSupportedError):
        reason = _CONTRACT.get(number, "the warehouse refused the statement")
        return WarehouseError(f"{what}: {reason}: {text}; check the tables of the warehouse contract")
    return UnavailableError(f"{what}: the warehouse did not answer: {text}")


def _number(error: errors.Error) -> int:
    """The error's number; the server's, where the connector put its own in front of it."""
    return int(error.errno) if error.errno is not None else 0
