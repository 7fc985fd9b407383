"""API keys, through the command line that makes them and the API that takes them."""

from datetime import timedelta

import pytest
from click.testing import Result
from servers.http import open_client
from servers.tracking import ProjectClient, Tracking, serving
from typer.testing import CliRunner

from lab.stack.postgres import socket_url
from optimization_tracking.app import create_app
from optimization_tracking.commands.main import app
from optimization_tracking.keys import ensure_key, list_keys
from optimization_tracking.schema import head_revision
from optimizer.errors import ConfigError
from optimizer.names import TRACKING_PREFIX, TRACKING_URL_VARIABLE


def command(tracking: Tracking, *arguments: str, expect: int = 0) -> Result:
    done = CliRunner().invoke(app, arguments, env={TRACKING_URL_VARIABLE: tracking.database_url, "COLUMNS": "160"})
    assert done.exit_code == expect, done.output
    return done


def status_of(tracking: Tracking, key: str, path: str = "/runs") -> int:
    return ProjectClient(tracking.http, key).get(path).status_code


def test_a_key_is_shown_once_kept_as_a_hash_and_works_in_both_headers(tracking: Tracking):
    key = command(tracking, "keys", "create", "shop", "--name", "trainer").stdout.strip()
    assert key.startswith("sk_live_") and len(key) == len("sk_live_") + 43
    assert status_of(tracking, key) == 200
    assert tracking.http.get("/runs", headers={"X-API-Key": key}).status_code == 200
    listed = command(tracking, "keys", "list", "shop").stdout
    assert "trainer" in listed and key not in listed
    with tracking.connect() as connection:
        connection.execute("SET ROLE optimization_service")
        rows = connection.execute("SELECT row_to_json(k)::text FROM optimization_api_keys AS k").fetchall()
    assert not [row for row in rows if key.removeprefix("sk_live_")[6:] in row[0]]


def test_two_different_keys_in_one_request_are_refused(tracking: Tracking):
    keys = [tracking.keys["shop"], tracking.keys["search"]]
    answers = [
        tracking.http.get("/runs", headers={"Authorization": f"Bearer {keys[0]}", "X-API-Key": key}) for key in keys
    ]
    assert [answer.status_code for answer in answers] == [200, 401]
    assert "two different keys" in answers[1].json()["detail"]


def test_a_revoked_key_ends_at_once(tracking: Tracking):
    key = command(tracking, "keys", "create", "shop").stdout.strip()
    assert status_of(tracking, key) == 200
    assert "is revoked" in command(tracking, "keys", "revoke", key[:14]).stdout
    assert status_of(tracking, key) == 401
    assert "fits no key that lives" in command(tracking, "keys", "revoke", key[:14], expect=1).stderr


def test_a_rotated_key_works_next_to_the_new_one_until_its_grace_is_over(tracking: Tracking):
    old = command(tracking, "keys", "create", "shop", "--scope", "read").stdout.strip()
    new = command(tracking, "keys", "rotate", old[:14], "--grace-hours", "1").stdout.strip()
    assert [status_of(tracking, key) for key in (old, new)] == [200, 200]
    newest = command(tracking, "keys", "rotate", new[:14], "--grace-hours", "0").stdout.strip()
    assert [status_of(tracking, key) for key in (new, newest)] == [401, 200]


def test_a_rotated_key_ends_when_the_old_one_would_have_unless_another_end_is_given(tracking: Tracking):
    old = command(tracking, "keys", "create", "shop", "--name", "brief", "--expires-in-days", "3").stdout.strip()
    new = command(tracking, "keys", "rotate", old[:14]).stdout.strip()
    week = ("--grace-hours", "168")
    longer = command(tracking, "keys", "rotate", new[:14], "--expires-in-days", "90", *week).stdout.strip()
    with tracking.connect() as connection:
        keys = list_keys(connection, project_id="shop")
    ends = {key.prefix: key.expires_at - key.created_at for key in keys if key.name == "brief"}
    assert timedelta(days=2) < ends[new[:14]] <= timedelta(days=3)
    assert ends[longer[:14]].days >= 89


def test_an_expired_key_is_not_revived_by_a_rotation(tracking: Tracking):
    key = command(tracking, "keys", "create", "shop").stdout.strip()
    command(tracking, "keys", "rotate", key[:14], "--grace-hours", "0")
    assert status_of(tracking, key) == 401
    before = command(tracking, "keys", "list", "shop").stdout.count("sk_live_")
    assert "revoked or expired" in command(tracking, "keys", "rotate", key[:14], expect=1).stderr
    assert status_of(tracking, key) == 401
    assert command(tracking, "keys", "list", "shop").stdout.count("sk_live_") == before


@pytest.mark.parametrize(("scope", "statuses"), [("read", (200, 403)), ("write", (403, 201))])
def test_a_key_does_what_its_scope_says(tracking: Tracking, scope, statuses):
    key = command(tracking, "keys", "create", "shop", "--scope", scope).stdout.strip()
    client = ProjectClient(tracking.http, key)
    written = client.post("/runs", {"runName": "r", "optimizerType": "rtb"})
    assert (client.get("/runs").status_code, written.status_code) == statuses


def test_a_key_above_its_rate_gets_retry_after(tracking: Tracking):
    key = command(tracking, "keys", "create", "shop", "--rate", "3").stdout.strip()
    answers = [ProjectClient(tracking.http, key).get("/projects") for _ in range(20)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert answers[0].status_code == 200 and refused
    assert int(refused[0].headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "nowhere"), "project 'nowhere' does not exist"),
        (("create", "shop", "--scope", "admin"), "choose from read, write"),
        (("create", "bad id!", "--create-project"), "letters, digits"),
        (("revoke", "sk_"), "fits no key"),
    ],
)
def test_a_wrong_command_says_what_to_do(tracking: Tracking, arguments, message):
    assert message in command(tracking, "keys", *arguments, expect=1).stderr


@pytest.mark.parametrize("text", ["a-password-of-the-operator-s-own-choice", "sk_live_too-short"])
def test_a_key_from_elsewhere_must_have_the_format_of_the_api_and_be_random(tracking: Tracking, text):
    with tracking.connect() as connection, pytest.raises(ConfigError, match="must be sk_live_ and 32 random"):
        ensure_key(connection, "shop", name="kept", key=text)


def test_the_migration_may_be_repeated(tracking: Tracking):
    assert command(tracking, "migrate").stdout == f"the tracking database is at revision {head_revision()}\n"
    assert tracking.http.get("/health").json() == {"status": "ok", "revision": head_revision()}


def test_a_service_without_its_database_answers_503_and_lives(tmp_path):
    silent = socket_url(tmp_path, user="x", password="x", database="x")
    urls = {None: TRACKING_URL_VARIABLE, silent: "does not answer"}
    for url, message in urls.items():
        service = create_app(database_url=url, prefix=TRACKING_PREFIX, refresh_s=None)
        with serving(service) as address, open_client(address + TRACKING_PREFIX) as http:
            answer = ProjectClient(http, "sk_live_x").get("/runs")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert message in answer.json()["detail"] and int(answer.headers["Retry-After"]) > 0
