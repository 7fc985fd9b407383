"""Messages about incidents through Airflow's connections: Slack, mail, or a webhook of your own."""

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseHook, BaseNotifier, Context, Variable
from sqlalchemy import Engine

from optimizer.deployment import notices
from optimizer.deployment.notices import Destination, Notice, parse_destinations
from optimizer.errors import OptimizerError

log = logging.getLogger(__name__)

SETTING = "OPTIMIZER_NOTIFIERS"
"""The environment variable, or where it is not set the Airflow Variable, that lists the destinations."""

TIMEOUT_S = 10


class SlackNotifier(BaseNotifier):
    """Posts to a channel with Slack's chat.postMessage; the connection has its address, and a bot's token as password.

    It uses the HTTP provider, which Airflow's Amazon provider brings along; the Slack provider is not needed.
    """

    def __init__(self, *, connection_id: str, channel: str, text: str) -> None:
        super().__init__()
        self.connection_id, self.channel, self.text = connection_id, channel, text

    def notify(self, context: Context) -> None:
        """Post the text.

        Raises:
            RuntimeError: Slack refuses the message: it answers 200 OK even then.
        """
        token = BaseHook.get_connection(self.connection_id).password
        response = HttpHook(method="POST", http_conn_id=self.connection_id).run(
            endpoint="chat.postMessage",
            json={"channel": self.channel, "text": self.text},
            headers={"Authorization": f"Bearer {token}"},
            extra_options={"timeout": TIMEOUT_S},
        )
        if not (answer := response.json()).get("ok"):
            raise RuntimeError(f"Slack refuses the message: {answer.get('error')}")


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
    # Called as a function a notifier would render what it sends as a Jinja template; a message is not one.
    _notifier(destination, notice).notify({})


def _notifier(destination: Destination, notice: Notice) -> BaseNotifier:
    connection_id, options = destination.connection_id, destination.options
    match destination.kind:
        case "slack":
            text = f"*{notice.title}*\n{notice.text}"
            return SlackNotifier(connection_id=connection_id, channel=options["channel"][0], text=text)
        case "smtp":
            body = escape(notice.text).replace("\n", "<br>")
            return SmtpNotifier(
                smtp_conn_id=connection_id, to=options["to"], subject=f"[optimizer] {notice.title}", html_content=body
            )
        case _:
            extra: dict[str, Any] = {"timeout": TIMEOUT_S}
            path = options.get("path", [""])[0]
            return HttpNotifier(http_conn_id=connection_id, endpoint=path, json=notice.document, extra_options=extra)


def _setting() -> str:
    return os.environ.get(SETTING) or Variable.get(SETTING, default=None) or ""
