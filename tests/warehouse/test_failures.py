"""What Snowflake's errors mean, by number, and what a session is told."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from snowflake.connector import errors

from optimizer.errors import ConfigError, UnavailableError, WarehouseError
from optimizer.warehouse.failures import warehouse_errors
from optimizer.warehouse.session import open_session, session_parameters


def raised_as(error: Exception) -> Exception:
    with pytest.raises((UnavailableError, WarehouseError)) as raised, warehouse_errors("writing cells"):
        raise error
    assert raised.value.__cause__ is error
    return raised.value


def open_missing_key():
    Path("/no/such/rsa_key.p8").read_bytes()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (630, "the statement reached its time-out"),
        (604, "the statement was canceled"),
        (606, "no warehouse is active"),
        (603, "it failed inside"),
        (625, "waited too long for the warehouse"),
        (390114, "the session has expired"),
        (390112, "the session has expired"),
        (390318, "the session has expired"),
        (90073, "its resource monitor has no credits left"),
    ],
)
@pytest.mark.parametrize("kind", [errors.ProgrammingError, errors.DatabaseError, errors.OperationalError])
def test_what_may_pass_is_tried_again(kind: type[errors.Error], number: int, said: str):
    error = raised_as(kind(msg=f"{number:06}: as Snowflake says", errno=number))
    assert isinstance(error, UnavailableError)
    assert str(error).startswith("writing cells: ") and said in str(error) and "as Snowflake says" in str(error)


@pytest.mark.parametrize(
    ("number", "todo"),
    [
        (390100, "check login and password of"),
        (390144, "check user, private key and its passphrase in"),
        (394304, "check user, private key and its passphrase in"),
        (251008, "check user, private key and its passphrase in"),
        (390303, "check the OAuth token of"),
        (390201, "check role, warehouse, database and schema of"),
        (390420, "let this address into the network policy"),
        (394508, "use a key pair instead of a login with MFA in"),
        (251001, "check account and host of"),
    ],
)
@pytest.mark.parametrize("kind", [errors.ProgrammingError, errors.DatabaseError, errors.InterfaceError])
def test_a_denied_login_is_not_tried_again_and_says_what_to_check(kind: type[errors.Error], number: int, todo: str):
    error = raised_as(kind(msg="JWT token is invalid.", errno=number))
    assert isinstance(error, WarehouseError)
    assert "the warehouse denied the login: " in str(error) and f"JWT token is invalid.; {todo}" in str(error)
    assert str(error).endswith("the Airflow connection optimizer_warehouse")


def test_a_denied_login_behind_the_connector_s_own_number_is_known_by_its_words():
    said = "Failed to connect to DB: x.snowflakecomputing.com:443. JWT token is invalid. [0a1b]"
    assert isinstance(raised_as(errors.DatabaseError(msg=said, errno=250001)), WarehouseError)
    away = "Failed to connect to DB: x.snowflakecomputing.com:443. Service is unavailable"
    assert isinstance(raised_as(errors.DatabaseError(msg=away, errno=250001)), UnavailableError)


@pytest.mark.parametrize(
    ("number", "reason"), [(904, "a column is missing"), (2003, "a table is missing"), (1003, "refused the statement")]
)
def test_a_statement_that_is_refused_is_a_matter_of_the_contract(number: int, reason: str):
    error = raised_as(errors.ProgrammingError(msg="SQL compilation error", errno=number))
    assert isinstance(error, WarehouseError) and reason in str(error)


@pytest.mark.parametrize(
    "error", [errors.OperationalError(msg="chunk"), errors.InternalServerError(msg="503", errno=290503)]
)
def test_what_has_no_number_that_says_otherwise_did_not_answer(error: errors.Error):
    assert "the warehouse did not answer" in str(raised_as(error))


def load_wrong_key():
    load_pem_private_key(b"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n", password=None)


@pytest.mark.parametrize("connect", [load_wrong_key, open_missing_key])
def test_a_key_that_cannot_be_read_is_a_matter_of_the_connection(connect):
    with pytest.raises(WarehouseError, match="check the private key, its passphrase and the settings of the Airflow"):
        open_session(connect)


def test_a_connection_that_is_reset_while_it_is_opened_may_pass():
    def connect():
        raise ConnectionResetError("by peer")

    with pytest.raises(UnavailableError, match="did not answer: by peer"):
        open_session(connect)


def test_a_session_says_who_asks_ends_late_statements_and_is_in_utc():
    told = session_parameters({"entity": "drugs_hcp", "run": "20260204_060000", "task": "extract"})
    asked = {"application": "rtb_optimizer", "entity": "drugs_hcp", "run": "20260204_060000", "task": "extract"}
    assert json.loads(told.pop("QUERY_TAG")) == asked
    assert told == {"STATEMENT_TIMEOUT_IN_SECONDS": 3600, "TIMEZONE": "UTC"}
    assert session_parameters({}, statement_timeout_s="90")["STATEMENT_TIMEOUT_IN_SECONDS"] == 90


@pytest.mark.parametrize("text", ["0", "-1", "an hour", "1.5"])
def test_a_time_out_that_is_no_number_of_seconds_is_refused(text: str):
    with pytest.raises(ConfigError, match="OPTIMIZER_STATEMENT_TIMEOUT_S="):
        session_parameters({}, statement_timeout_s=text)
