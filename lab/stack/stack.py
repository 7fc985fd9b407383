"""The embedded stack of one home folder: open it, start it, wait until it answers, stop it."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from lab.stack.certificate import ensure_certificate
from lab.stack.clients import connect_airflow, connect_objects, connect_warehouse
from lab.stack.environment import build_environment, build_server_environment
from lab.stack.home import PROJECT, StackHome, default_home
from lab.stack.ports import PortClaims
from lab.stack.programs import AIRFLOW, PROGRAMS, list_programs, render_supervisord
from lab.stack.readiness import find_unready
from lab.stack.settings import (
    StackSettings,
    claim_ports,
    create_settings,
    read_settings,
    write_private_file,
    write_settings,
)
from lab.stack.supervision import Supervisor
from lab.stack.tracking import make_data_folder, prepare_tracking
from optimizer.clients.airflow_api import AirflowApi
from optimizer.errors import ConfigError, UnavailableError
from optimizer.names import TRAINING_POOL

_LOG_LINES = 15
_MISREAD = {
    "%": "supervisord and Airflow expand the % in it",
    "?": "the ? in it ends the name of an SQLite file in its URL",
    " ;": "supervisord takes what follows ' ;' in it for a comment",
}
"""What no path of a stack may hold, and why."""
_RUNNING_STATES = ("running", "starting", "backoff")


class LocalStack:
    """SQLite, a Snowflake-speaking warehouse, S3 objects, Postgres and Airflow on the loopback of this machine."""

    def __init__(self, home: StackHome, *, settings: StackSettings, project: Path = PROJECT) -> None:
        self.home, self.settings, self.project = home, settings, project
        self._claims = PortClaims()

    @classmethod
    def open(cls, home: Path | None = None, *, project: Path = PROJECT) -> Self:
        """Return the stack of a home, which is made on first use; Airflow reads the DAGs of `project`.

        A stack that is down gets other ports for those that are taken meanwhile, here and again when it starts.

        Raises:
            ConfigError: its stack.json cannot be read, or a path has characters that its programs misread.
        """
        folders = StackHome((home or default_home()).resolve())
        _check_path(project, advice="move this checkout")
        _check_path(folders.path, advice="choose another home")
        folders.create()
        with _locked(folders):
            settings = read_settings(folders.settings) or create_settings(folders.path)
            if settings != read_settings(folders.settings):
                write_settings(folders.settings, settings=settings)
            stack = cls(folders, settings=settings, project=project)
            ensure_certificate(folders)
            with PortClaims() as claims:
                stack._settle_ports(claims)
        return stack

    def environment(self) -> dict[str, str]:
        """Return the variables for Airflow and the `optimizer` command line, to lay over os.environ. Holds secrets."""
        return build_environment(self.settings, home=self.home, project=self.project)

    def start(self, *programs: str, with_schedules: bool = False) -> None:
        """Start programs, all if none is named, and return when their processes run; `wait_ready` asks them.

        The process that starts a stack which was down keeps all its ports from other stacks until it stops it or ends;
        programs that listen keep theirs.
        Without schedules, Airflow's scheduler opens no run by itself. One that is named and already runs the other way
        is started again.

        Raises:
            ConfigError: a name is not a program.
            UnavailableError: a program does not stay up; the message ends with its log.
        """
        wanted = _known(programs)
        with _locked(self.home):
            if not self._supervisor.is_running():
                self._launch(with_schedules=with_schedules)
            elif "airflow-scheduler" in wanted:
                self._write_configuration(with_schedules=with_schedules)
                self._supervisor.reload()
            if "tracking" in wanted:
                make_data_folder(self.settings, home=self.home)
            if set(wanted) & set(AIRFLOW):
                self._prepare_airflow()
            failed = self._supervisor.start(wanted)
        if failed:
            raise UnavailableError(f"{failed} does not stay up. {self._log_tail(failed)}")

    def stop(self, *programs: str) -> None:
        """Stop programs; with no name all of them, and what supervises them."""
        with _locked(self.home):
            if not programs:
                self._supervisor.shut_down()
                self._claims.release()
            elif self._supervisor.is_running():
                self._supervisor.stop(_known(programs))

    @contextmanager
    def serving(self, *programs: str) -> Iterator[None]:
        """Start programs, wait until they are ready, and stop the stack at the end of the block.

        Raises:
            ConfigError, UnavailableError: as `start` and `wait_ready`.
        """
        try:
            self.start(*programs)
            self.wait_ready()
            yield
        finally:
            self.stop()

    def restart(self, *programs: str, with_schedules: bool = False) -> None:
        """Stop and start programs, all that were running if none is named."""
        wanted = programs or self._running()
        self.stop(*programs)
        if wanted:
            self.start(*wanted, with_schedules=with_schedules)

    def status(self) -> dict[str, str]:
        """Return {program: state} of every program, in supervisord's words: stopped, starting, running, fatal, …"""
        return dict.fromkeys(PROGRAMS, "stopped") | self._supervisor.states()

    def wait_ready(self, timeout_s: float = 120) -> None:
        """Return when every program that was started answers a real request, and tracking has its tables.

        Raises:
            UnavailableError: one does not in time, or ended; the message ends with its log.
        """
        deadline = time.monotonic() + timeout_s
        while problems := self._problems():
            program, problem = next(iter(problems.items()))
            if time.monotonic() > deadline or self.status()[program] in ("fatal", "exited"):
                raise UnavailableError(f"{program} is not ready: {problem}. {self._log_tail(program)}")
            time.sleep(0.5)
        if "tracking" in self._running():
            prepare_tracking(self.settings)
        if "airflow-api-server" in self._running():
            with self.connect_airflow() as airflow:
                airflow.ensure_pool(TRAINING_POOL, slots=1)
                # The first request takes seconds, which a run's first task would wait.
                airflow.execution_health()

    def connect_warehouse(self) -> Any:
        """Return an open Snowflake connection; see `lab.stack.clients`."""
        return connect_warehouse(self.settings, home=self.home)

    def connect_objects(self) -> Any:
        """Return a boto3 S3 client."""
        return connect_objects(self.settings)

    def connect_airflow(self) -> AirflowApi:
        """Return a client of Airflow's REST API."""
        return connect_airflow(self.settings)

    def ensure_bucket(self, name: str) -> None:
        """Make the bucket if it is missing."""
        client = self.connect_objects()
        try:
            if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=name)
        finally:
            client.close()

    @property
    def _supervisor(self) -> Supervisor:
        config = self.home.path / "supervisord.conf"
        return Supervisor(home=self.home.path, socket_path=self.settings.socket_path, config=config)

    def _running(self) -> tuple[str, ...]:
        return tuple(program for program, state in self.status().items() if state in _RUNNING_STATES)

    def _settle_ports(self, claims: PortClaims) -> None:
        if self._supervisor.is_running():
            return
        self.settings = claim_ports(self.settings, home=self.home.path, claims=claims)
        if self.settings != read_settings(self.home.settings):
            write_settings(self.home.settings, settings=self.settings)

    def _launch(self, *, with_schedules: bool) -> None:
        self._supervisor.shut_down()
        self._claims.release()
        self._settle_ports(self._claims)
        self._write_configuration(with_schedules=with_schedules)
        self._supervisor.launch({**self.environment(), **build_server_environment(self.settings)})

    def _write_configuration(self, *, with_schedules: bool) -> None:
        programs = list_programs(self.settings, home=self.home, with_schedules=with_schedules)
        text = render_supervisord(programs, home=self.home, socket_path=self.settings.socket_path)
        write_private_file(self.home.path / "supervisord.conf", text=text)

    def _prepare_airflow(self) -> None:
        """Write the password file, and migrate Airflow's own database once per Airflow version (about 9 s)."""
        passwords = {self.settings.airflow_user: self.settings.airflow_password}
        write_private_file(self.home.airflow_passwords, text=json.dumps(passwords))
        migrated, wanted = self.home.airflow / "migrated_version.txt", version("apache-airflow")
        if migrated.exists() and migrated.read_text() == wanted:
            return
        environment = {**os.environ, **self.environment()}
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        with self.home.log("airflow-db-migrate").open("w") as log:
            done = subprocess.run(  # noqa: S603
                command, env=environment, cwd=self.home.path, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise UnavailableError(f"airflow db migrate failed. {self._log_tail('airflow-db-migrate')}")
        write_private_file(migrated, text=wanted)

    def _problems(self) -> dict[str, str]:
        states = self.status()
        started = [program for program, state in states.items() if state != "stopped"]
        if not started:
            raise UnavailableError(f"nothing of the stack in {self.home.path} runs; start it first")
        down = {program: f"it is {states[program]}" for program in started if states[program] != "running"}
        return down or find_unready(started, settings=self.settings, home=self.home)

    def _log_tail(self, program: str) -> str:
        path = self.home.log(program)
        lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:] if path.exists() else []
        return "\n".join([f"The end of {path}:", *lines])


def _check_path(path: Path, *, advice: str) -> None:
    for text, reason in _MISREAD.items():
        if text in str(path):
            raise ConfigError(f"{path}: {reason}; {advice}")


def _known(programs: Iterable[str]) -> tuple[str, ...]:
    unknown = sorted(set(programs) - set(PROGRAMS))
    if unknown:
        raise ConfigError(f"no program is called {', '.join(unknown)}; choose from {', '.join(PROGRAMS)}")
    return tuple(programs) or PROGRAMS


@contextmanager
def _locked(home: StackHome) -> Iterator[None]:
    """Let one process at a time open, start or stop the stack."""
    with home.lock.open("a") as file:
        home.lock.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
