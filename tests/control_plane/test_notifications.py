"""Messages about incidents: one when it opens, one when it is over, neither lost nor sent twice."""

import logging
from datetime import timedelta

import pytest
from control_plane.catalog import NOW
from sqlalchemy import Engine

from optimizer.control_plane.alerts import Incident, record_incidents
from optimizer.deployment.notices import CLAIM_TIME, Destination, Notice, parse_destinations, send_due
from optimizer.errors import ConfigError

HOOK, MAIL = "webhook://ops_hook", "smtp://ops_mail?to=anna@example.com"
BELOW = Incident("below_forecast", "entity drugs_hcp: run R is below its forecast", "R")


class Post:
    """Destinations that note what arrives; those in `broken` refuse it."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, str]] = []
        self.broken: set[str] = set()

    def deliver(self, destination: Destination, notice: Notice) -> None:
        if destination.text in self.broken:
            raise ConnectionError("refused: token xoxb-secret")
        self.arrived.append((destination.text, notice.title))

    def look(self, engine: Engine, *incidents: Incident, hours: float = 0, to: str = HOOK) -> list[tuple[str, str]]:
        """Record what is seen at this hour, send what is due, and return what arrived by it."""
        now = NOW + timedelta(hours=hours)
        record_incidents(engine, 1, incidents, kinds=["below_forecast"], now=now)
        before = len(self.arrived)
        given = {"destinations": parse_destinations(to), "engine": engine, "deliver": self.deliver, "now": now}
        assert send_due("drugs_hcp", **given) == len(self.arrived) - before
        return self.arrived[before:]


def test_an_incident_is_reported_once_when_it_opens_and_once_when_it_is_over(engine: Engine):
    post = Post()
    assert post.look(engine, BELOW) == [(HOOK, "drugs_hcp: below forecast")]
    assert post.look(engine, BELOW, hours=24) == []
    assert post.look(engine, hours=48) == [(HOOK, "drugs_hcp: over: below forecast")]
    assert post.look(engine, hours=72) == []
    assert post.look(engine, BELOW, hours=96) == [(HOOK, "drugs_hcp: below forecast")], "it has opened again"


def test_a_destination_that_fails_is_tried_again_and_the_others_hear_nothing_twice(engine: Engine, caplog):
    post, both = Post(), f"{HOOK}, {MAIL}"
    post.broken = {MAIL}
    with caplog.at_level(logging.ERROR):
        assert post.look(engine, BELOW, to=both) == [(HOOK, "drugs_hcp: below forecast")]
    assert "over the connection ops_mail: ConnectionError; it is sent again" in caplog.text
    assert "xoxb-secret" not in caplog.text
    post.broken = set()
    assert post.look(engine, BELOW, hours=1, to=both) == [(MAIL, "drugs_hcp: below forecast")]
    assert len(post.look(engine, hours=2, to=both)) == 2


def test_an_incident_that_ended_while_a_destination_failed_is_reported_as_over(engine: Engine):
    post = Post()
    post.broken = {HOOK}
    assert post.look(engine, BELOW) == []
    post.broken = set()
    assert post.look(engine, hours=1) == [(HOOK, "drugs_hcp: over: below forecast")]


def test_a_new_destination_hears_of_open_incidents_and_not_of_old_ones(engine: Engine):
    post = Post()
    post.look(engine, BELOW, to="")
    post.look(engine, hours=1, to="")
    assert post.look(engine, hours=2) == []
    post.look(engine, BELOW, hours=3, to="")
    assert post.look(engine, BELOW, hours=4) == [(HOOK, "drugs_hcp: below forecast")]


def test_a_message_that_another_task_is_sending_is_left_to_it_until_its_claim_lapses(engine: Engine):
    post, later = Post(), CLAIM_TIME / timedelta(hours=1)

    def die(destination: Destination, notice: Notice) -> None:
        raise KeyboardInterrupt

    record_incidents(engine, 1, [BELOW], kinds=["below_forecast"], now=NOW)
    with pytest.raises(KeyboardInterrupt):
        send_due("drugs_hcp", destinations=parse_destinations(HOOK), engine=engine, deliver=die, now=NOW)
    assert post.look(engine, BELOW, hours=later / 2) == []
    assert post.look(engine, BELOW, hours=later) == [(HOOK, "drugs_hcp: below forecast")]


def test_destinations_name_a_connection_and_keep_a_channels_hash():
    slack, mail = parse_destinations("slack://Ops_Slack?channel=#rtb, smtp://mail?to=a@b.com&to=c@d.com,")
    assert (slack.kind, slack.connection_id, slack.options) == ("slack", "Ops_Slack", {"channel": ["#rtb"]})
    assert mail.options == {"to": ["a@b.com", "c@d.com"]}
    assert parse_destinations("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teams://x", "'teams://x' begins with none of slack://, smtp://, webhook://"),
        ("webhook://user:password@host/path", "must name an Airflow connection only: webhook://conn_id"),
        ("webhook://", "must name an Airflow connection only"),
        ("slack://x", "lacks channel"),
        ("smtp://x?to=a@b.com&cc=c@d.com", "the unknown option cc"),
        ("webhook://" + "x" * 200, "has 210 characters; 200 at most"),
    ],
)
def test_a_destination_that_cannot_be_used_is_refused_without_its_password(text: str, message: str):
    with pytest.raises(ConfigError) as refused:
        parse_destinations(text)
    assert message in str(refused.value) and "password@" not in str(refused.value)
