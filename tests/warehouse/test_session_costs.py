"""What a run's statements cost: read at once, and never a reason to fail."""

from typing import Any

import pytest
from snowflake.connector import errors

from optimizer.core.records.window_totals import QueryCosts
from optimizer.warehouse.session_costs import read_session_costs


class Session:
    """A connection whose history holds these statements, or that answers with an error."""

    def __init__(self, answer: tuple[Any, ...] | Exception | None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def cursor(self) -> "Session":
        return self

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, query: str) -> "Session":
        self.asked.append(query)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    def fetchone(self) -> Any:
        return self.answer


def test_what_the_session_scanned_and_cost_comes_from_its_own_history():
    session = Session((6, 48_000_000_000, "12.5", 0.0004))
    assert read_session_costs(session) == QueryCosts(
        statements=6, bytes_scanned=48_000_000_000, execution_s=12.5, cloud_services_credits=0.0004
    )
    (query,) = session.asked
    assert "TABLE(INFORMATION_SCHEMA.QUERY_HISTORY_BY_SESSION(" in query


def test_results_that_snowflake_had_ready_cost_nothing():
    costs = read_session_costs(Session((2, None, None, None)))
    assert costs is not None and (costs.bytes_scanned, costs.cloud_services_credits) == (0, 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        errors.ProgrammingError(msg="Insufficient privileges to operate on table function", errno=3001),
        errors.ProgrammingError(msg="Unknown function", errno=2141),
        errors.OperationalError(msg="the network is away"),
        (0, None, None, None),
        None,
    ],
    ids=["denied", "unknown", "silent", "empty", "nothing"],
)
def test_a_warehouse_that_does_not_tell_leaves_it_unknown_and_the_log_says_so(
    answer: Any, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO"):
        assert read_session_costs(Session(answer)) is None
    assert "what the statements scanned and cost is not known: " in caplog.text


def test_the_embedded_warehouse_keeps_no_history_and_goes_on_answering(connection: Any):
    assert read_session_costs(connection) is None
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT COUNT(*) FROM BIDS").fetchone()[0] > 0
