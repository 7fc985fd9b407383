"""`python -m optimizer.bidder`: its three commands, and what its environment may say."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import boto3
import pytest
from bidder.market import ENTITY, OS, STATE
from bidder.processes import environment_of, wait_until_ready
from servers.embedded import closed_port
from servers.http import open_client
from typer.testing import CliRunner

from lab.stack.ports import PortClaims
from optimizer.bidder.commands import app
from optimizer.bidder.openrtb.auctions import Terms
from optimizer.bidder.openrtb.settings import openrtb_from
from optimizer.bidder.settings import VARIABLES, read_settings
from optimizer.errors import ConfigError

NPI = "1234567893"
BODY = {"entity_code": ENTITY, "macros": {STATE: "Ohio", OS: "android"}, "user_id": "user-1", "npi": NPI}
URL = "mysql+pymysql://optimizer_bidder:hidden@mysql/optimizer"


@pytest.fixture
def environment(market, systems, monkeypatch) -> dict[str, str]:
    """Return the variables of a bidder with one run to load, which are set; the object store's are boto3's own."""
    market.run_id = market.publish(npis={NPI: 1.5})
    market.deploy({market.run_id: 100})
    named = environment_of(market, systems)
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **named}


def run(*arguments: str, **options):
    return CliRunner().invoke(app, arguments, **options)


def test_price_prints_the_price_with_its_parts(market, environment):
    expected = {"reason": "segment", "bid_cpm": 18.0, "run_id": market.run_id, "npi_multiplier": 1.5}
    for done in (run("price", json.dumps(BODY)), run("price", "-", input=json.dumps(BODY))):
        assert done.exit_code == 0
        assert json.loads(done.stdout).items() >= expected.items()
        assert NPI not in done.output


def test_price_refuses_a_body_before_it_loads_anything():
    done = run("price", json.dumps({**BODY, "user_id": None}))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "user_id or auction_id" in done.stderr and NPI not in done.stderr


def test_refresh_shows_what_is_served(market, environment):
    done = run("refresh")
    assert done.exit_code == 0
    (row,) = (line for line in done.stdout.splitlines() if market.run_id in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][2:] == ["100 %", "3", "0", "1", "5.00", "30.00"]


def test_credentials_are_those_of_the_environment_and_not_of_a_session_that_was_opened_before(environment, monkeypatch):
    earlier = boto3.Session(aws_access_key_id="other", aws_secret_access_key="test only", region_name="us-east-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", earlier)
    assert run("refresh").exit_code == 0


def test_refresh_fills_the_memcached_that_is_named(market, environment, server, memcached, monkeypatch):
    monkeypatch.setenv("OPTIMIZER_BIDDER_MEMCACHED", server.names[0])
    before = memcached.stats()[b"cmd_set"]
    assert run("refresh").exit_code == 0
    assert memcached.stats()[b"cmd_set"] - before == 3 + 1  # the keys, and that they are all there


def test_a_refresh_that_fails_shows_why_and_what_is_served(market, environment):
    market.execute("UPDATE opt_deployments SET traffic_pct = 50")
    done = run("refresh")
    assert "What is served" in done.stdout
    assert done.exit_code == 1 and "sum to 50 instead of 100" in done.stderr
    assert run("price", json.dumps(BODY)).exit_code == 1


def test_an_error_is_one_line_and_status_one(environment):
    silent = {
        **environment,
        "OPTIMIZER_CONTROL_PLANE_URL": f"mysql+pymysql://a:hidden@127.0.0.1:{closed_port()}/optimizer",
    }
    command = [sys.executable, "-m", "optimizer.bidder", "price", json.dumps(BODY)]
    done = subprocess.run(command, env=silent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: control plane: ") and "does not answer" in last
    assert "Traceback" not in done.stderr and "hidden" not in done.stderr


def test_serve_answers_until_it_is_ended_and_its_log_names_no_user(market, environment, tmp_path):
    with PortClaims() as claims, (tmp_path / "log").open("w+") as log:
        port = claims.claim()
        command = [sys.executable, "-m", "optimizer.bidder", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            with open_client(f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client, process)
                assert client.post("/price", json=BODY).json()["bid_cpm"] == 18.0
                assert client.post("/price", json={**BODY, "user_id": None}).status_code == 400
                assert (
                    f'optimizer_bidder_keys{{entity="{ENTITY}",run_id="{market.run_id}"}} 3.0'
                    in client.get("/metrics").text
                )
        finally:
            process.terminate()
            process.wait(30)
        log.seek(0)
        written = log.read()
    assert f"switched: {ENTITY}" in written and "Finished server process" in written
    assert NPI not in written and "user-1" not in written and "Traceback" not in written


def test_an_empty_variable_counts_as_none_and_lists_are_split():
    settings = read_settings(
        {
            "OPTIMIZER_CONTROL_PLANE_URL": URL,
            "OPTIMIZER_BIDDER_ENTITIES": "drugs_hcp, drugs_com,",
            "OPTIMIZER_BIDDER_MEMCACHED": "[::1]:11211, memcached:11212,",
            "OPTIMIZER_BIDDER_CURRENCY": "",
        }
    )
    assert settings.entities == ("drugs_hcp", "drugs_com")
    assert settings.memcached == (("::1", 11211), ("memcached", 11212))
    assert (settings.currency, settings.interval_s) == ("USD", 30)
    assert "hidden" not in repr(settings)


def test_the_environment_says_how_requests_are_read_and_answered(tmp_path):
    (tmp_path / "rates.json").write_text(json.dumps({"date": f"{datetime.now(UTC):%Y-%m-%d}", "rates": {"EUR": 0.8}}))
    (tmp_path / "privacy.toml").write_text("[withhold]\nlmt = []\n")
    environment = {
        "OPTIMIZER_BIDDER_RATES": str(tmp_path / "rates.json"),
        "OPTIMIZER_BIDDER_PRIVACY": str(tmp_path / "privacy.toml"),
        "OPTIMIZER_BIDDER_SEAT": "s-1",
        "OPTIMIZER_BIDDER_DEALS": "d-1, d-2,",
        "OPTIMIZER_BIDDER_NBR": "1",
    }
    openrtb = openrtb_from(environment)
    assert openrtb.terms == Terms("s-1", frozenset({"d-1", "d-2"}), states_reasons=True)
    assert openrtb.exchange.factor("USD", into="EUR") == 0.8
    body = json.dumps({"id": "a", "imp": [{"id": "1"}], "user": {"id": "u"}, "device": {"lmt": 1}}).encode()
    assert openrtb.read(body).questions[0].asked.user_id == "u"


@pytest.mark.parametrize("name", ["OPTIMIZER_BIDDER_RATES", "OPTIMIZER_BIDDER_PRIVACY", "OPTIMIZER_BIDDER_OPENRTB"])
def test_a_file_that_is_not_there_is_refused_by_the_name_of_its_variable(tmp_path, name):
    with pytest.raises(ConfigError, match=f"none.toml cannot be read: .*correct {name}"):
        openrtb_from({name: str(tmp_path / "none.toml")})


WRONG = {
    "OPTIMIZER_CONTROL_PLANE_URL": "",
    "OPTIMIZER_BIDDER_MEMCACHED": "memcached",
    "OPTIMIZER_BIDDER_MEMCACHED_TIMEOUT_MS": "0",
    "OPTIMIZER_BIDDER_MEMCACHED_KEEP_S": "9999999",
    "OPTIMIZER_BIDDER_INTERVAL_S": "soon",
    "OPTIMIZER_BIDDER_CURRENCY": "usd",
    "OPTIMIZER_BIDDER_RATES_MAX_AGE_DAYS": "-1",
    "OPTIMIZER_BIDDER_NBR": "perhaps",
    "OPTIMIZER_BIDDER_LEAST_ANSWER_MS": "soon",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_variable_is_refused_by_its_name(name):
    with pytest.raises(ConfigError, match=f"{name}: "):
        read_settings({"OPTIMIZER_CONTROL_PLANE_URL": URL, name: WRONG[name]})


def test_all_wrong_variables_are_named_together_and_no_value_is_repeated():
    with pytest.raises(ConfigError) as refused:
        read_settings({**WRONG, "OPTIMIZER_BIDDER_MEMCACHED": "secret:70000"})
    assert all(name in str(refused.value) for name in WRONG) and "secret" not in str(refused.value)
