"""Airflow's notifiers, and one for Slack, through Airflow's connections: Slack, mail, or a webhook of your own."""

from html import escape
from typing import Any

from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseHook, BaseNotifier, Context

from optimizer.deployment.notices import Destination, Notice

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


def notifier_of(destination: Destination, notice: Notice) -> BaseNotifier:
    """Return the notifier that sends the notice to the destination."""
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
