"""Sessions of the warehouse: who asks, how long a statement may take, and that days are UTC's."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from optimizer.errors import ConfigError, UnavailableError, WarehouseError
from optimizer.warehouse.failures import CONNECTION, warehouse_errors

APPLICATION = "rtb_optimizer"
STATEMENT_TIMEOUT_S = 3_600
"""Shorter than the time-outs of the tasks, so that a statement that hangs is ended in the warehouse too."""

_MAX_TAG = 2_000


def session_parameters(tag: Mapping[str, str], *, statement_timeout_s: str | None = None) -> dict[str, Any]:
    """Return the parameters of a session.

    Args:
        tag: who asks, such as entity, run and task: QUERY_HISTORY shows it with each statement, its bytes and credits.
        statement_timeout_s: as text, seconds; None or empty: STATEMENT_TIMEOUT_S.

    Raises:
        ConfigError: the time-out is not a whole number of seconds above zero.
    """
    text = statement_timeout_s or str(STATEMENT_TIMEOUT_S)
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"OPTIMIZER_STATEMENT_TIMEOUT_S={text!r} is not a number of seconds; write e.g. 3600")
    return {
        "QUERY_TAG": json.dumps({"application": APPLICATION, **tag})[:_MAX_TAG],
        "STATEMENT_TIMEOUT_IN_SECONDS": int(text),
        "TIMEZONE": "UTC",
    }


def open_session(connect: Callable[[], Any]) -> Any:
    """Return the connection that `connect` opens.

    Raises:
        WarehouseError: the login is denied, or cannot be tried: the private key cannot be read, a setting is missing.
        UnavailableError: the warehouse does not answer.
    """
    with warehouse_errors("connecting to the warehouse"):
        try:
            return connect()
        except (ConnectionError, TimeoutError) as error:
            raise UnavailableError(f"connecting to the warehouse: it did not answer: {error}") from error
        except (ValueError, TypeError, OSError) as error:  # of a key: not in PEM, another passphrase, no such file
            raise WarehouseError(
                f"connecting to the warehouse: {type(error).__name__}: {error}; check the private key, its passphrase "
                f"and the settings of {CONNECTION}"
            ) from error
