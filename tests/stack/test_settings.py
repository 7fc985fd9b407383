import json
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lab.stack import LocalStack
from lab.stack.home import PROJECT, default_home
from lab.stack.ports import PortClaims
from lab.stack.settings import PREFERRED_PORTS
from optimizer.errors import ConfigError, UnavailableError

SECRETS = {
    "airflow_password",
    "airflow_fernet_key",
    "airflow_jwt_secret",
    "airflow_session_secret",
    "warehouse_password",
    "objects_access_key",
    "objects_secret_key",
    "tracking_password",
    "tracking_key",
}


@pytest.fixture(autouse=True)
def _preferred_ports(monkeypatch: pytest.MonkeyPatch):
    """Let the homes prefer ports that no stack of another test takes meanwhile."""
    with PortClaims() as claims:
        ports = {name: claims.claim() for name in PREFERRED_PORTS}
    monkeypatch.setattr("lab.stack.settings.PREFERRED_PORTS", ports)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_home_and_its_secrets_are_closed_to_everyone_else(tmp_path: Path):
    stack = LocalStack.open(tmp_path / "home")
    folders = [path for path in [stack.home.path, *stack.home.path.rglob("*")] if path.is_dir()]
    files = [path for path in stack.home.path.rglob("*") if path.is_file()]
    assert {mode_of(path) for path in folders} == {0o700}
    assert {mode_of(path) for path in files} == {0o600}
    assert stack.home.settings in files


def test_a_second_open_finds_the_same_ports_and_secrets(tmp_path: Path):
    assert LocalStack.open(tmp_path).settings == LocalStack.open(tmp_path).settings


def test_a_home_from_before_tracking_gets_its_secrets_once(tmp_path: Path):
    path = tmp_path / "stack.json"
    before = LocalStack.open(tmp_path).settings.model_dump(mode="json", exclude={"tracking_password", "tracking_key"})
    path.write_text(json.dumps(before))
    first, second = (LocalStack.open(tmp_path).settings for _ in range(2))
    assert first == second
    assert first.model_dump(mode="json").items() >= before.items()


def test_two_homes_share_no_secret(tmp_path: Path):
    first, second = (LocalStack.open(tmp_path / name).settings.model_dump() for name in ("a", "b"))
    assert {name for name in first if first[name] == second[name]}.isdisjoint(SECRETS)


def test_secrets_are_long_and_stay_out_of_the_repr(tmp_path: Path):
    settings = LocalStack.open(tmp_path).settings
    values = [getattr(settings, name) for name in SECRETS]
    assert min(map(len, values)) >= 20
    assert len(settings.airflow_jwt_secret.encode()) >= 64
    assert not [value for value in values if value in repr(settings)]


def test_a_port_that_another_program_took_while_the_stack_was_down_is_replaced(tmp_path: Path):
    before = LocalStack.open(tmp_path).settings
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before.objects_port))
        other.listen()
        after = LocalStack.open(tmp_path).settings
    assert after.objects_port != before.objects_port
    assert after.model_copy(update={"objects_port": before.objects_port}) == before
    assert json.loads((tmp_path / "stack.json").read_text())["objects_port"] == after.objects_port


def test_a_home_too_deep_for_a_unix_socket_gets_a_short_private_folder(tmp_path: Path):
    settings = LocalStack.open(tmp_path / ("deep" * 30)).settings
    assert len(bytes(settings.socket_path)) < 100
    assert mode_of(settings.socket_path.parent) == 0o700
    settings.socket_path.parent.rmdir()


def test_a_damaged_stack_json_is_refused_without_showing_its_secrets(tmp_path: Path):
    stack = LocalStack.open(tmp_path)
    content = json.loads(stack.home.settings.read_text())
    stack.home.settings.write_text(json.dumps(content | {"airflow_port": "many"}))
    with pytest.raises(ConfigError, match="airflow_port") as raised:
        LocalStack.open(tmp_path)
    assert not [name for name in SECRETS if content[name] in str(raised.value)]


def test_a_home_with_a_comma_has_its_sockets_elsewhere(tmp_path: Path):
    settings = LocalStack.open(tmp_path / "a, b").settings
    assert "," not in str(settings.socket_path)
    settings.socket_path.parent.rmdir()


@pytest.mark.parametrize("name", ["100%", "why?", "a ;b"])
def test_a_path_that_a_program_misreads_is_refused_in_one_line(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match="choose another home") as raised:
        LocalStack.open(tmp_path / name)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="move this checkout"):
        LocalStack.open(tmp_path / "home", project=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_home_is_named_by_the_environment_or_is_in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("OPTIMIZER_HOME", raising=False)
    assert default_home() == PROJECT / ".local"
    monkeypatch.setenv("OPTIMIZER_HOME", str(tmp_path))
    assert default_home() == tmp_path


def test_a_stack_that_was_never_started_is_stopped_with_a_message(tmp_path: Path):
    stack = LocalStack.open(tmp_path)
    assert set(stack.status().values()) == {"stopped"}
    with pytest.raises(UnavailableError, match="start it first"):
        stack.wait_ready(1)
    stack.stop()


def test_an_unknown_program_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="no program is called mysql"):
        LocalStack.open(tmp_path).start("mysql")


def test_importing_the_package_loads_no_heavy_library():
    heavy = "airflow", "fakesnow", "snowflake.connector", "boto3", "duckdb", "pyarrow", "cryptography"
    code = f"import sys, lab.stack; print(*(name for name in {heavy} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
