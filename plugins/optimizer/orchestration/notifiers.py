"""Messages about incidents: sent where OPTIMIZER_NOTIFIERS says, by `message_notifiers`."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime

from airflow.sdk import Variable
from sqlalchemy import Engine

from optimizer.deployment import notices
from optimizer.deployment.notices import Destination, Notice, parse_destinations
from optimizer.errors import OptimizerError

log = logging.getLogger(__name__)

SETTING = "OPTIMIZER_NOTIFIERS"
"""The environment variable, or where it is not set the Airflow Variable, that lists the destinations."""


def send_due(entity_code: str, *, connect: Callable[[], Engine]) -> None:
    """Send the entity's messages that are due. What goes wrong is logged and changes nothing for the task."""
    try:
        destinations = parse_destinations(_setting())
        if destinations:
            now = datetime.now(UTC)
            notices.send_due(entity_code, destinations=destinations, engine=connect(), deliver=deliver, now=now)
    except OptimizerError as error:
        log.error("entity %s: no messages were sent: %s", entity_code, error)


def deliver(destination: Destination, notice: Notice) -> None:
    """Send the notice to the destination, or raise whatever its notifier raises."""
    # Airflow's notifiers take .3 s to import, and most tasks send nothing.
    from optimizer.orchestration.message_notifiers import notifier_of

    # Called as a function a notifier would render what it sends as a Jinja template; a message is not one.
    notifier_of(destination, notice).notify({})


def _setting() -> str:
    return os.environ.get(SETTING) or Variable.get(SETTING, default=None) or ""
