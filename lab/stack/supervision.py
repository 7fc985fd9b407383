"""Start, ask and stop supervisord; it alone owns the processes of a stack."""

import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from optimizer.errors import UnavailableError

# Marks every process that descends from the supervisord of one home, so that none is ever taken for another's.
MARK = "OPTIMIZER_SUPERVISED_HOME"

_DEAD_STATES = ("fatal", "exited", "unknown")
_POLL_S = 0.1


class Supervisor:
    """The supervisord of one home, running or not."""

    def __init__(self, *, home: Path, socket_path: Path, config: Path) -> None:
        self._home, self._socket_path, self._config = home, socket_path, config

    def is_running(self) -> bool:
        """Return whether supervisord answers."""
        try:
            with self._connect() as supervisor:
                supervisor.getState()
            return True
        except (OSError, xmlrpc.client.Error):
            return False

    def launch(self, environment: Mapping[str, str], *, timeout_s: float = 15) -> None:
        """Start supervisord in the background; its programs inherit this environment.

        Raises:
            UnavailableError: it does not answer in time.
        """
        # Airflow renames its processes; SPT_NOENV keeps the mark readable where they do.
        marked = {**os.environ, **environment, MARK: str(self._home), "SPT_NOENV": "1"}
        command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(self._config)]
        done = subprocess.run(  # noqa: S603
            command, env=marked, umask=0o077, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnavailableError(f"supervisord did not start in {self._home}: {(done.stdout + done.stderr).strip()}")
        if not _wait_until(self.is_running, timeout_s=timeout_s):
            raise UnavailableError(f"supervisord of {self._home} is silent after {timeout_s:.0f} s; read its log")

    def reload(self) -> None:
        """Take over the programs that the configuration file describes otherwise than before; they are stopped first.

        Programs that stay as they are go on.
        """
        with self._connect() as supervisor:
            _, changed, _ = supervisor.reloadConfig()[0]
            self.stop(changed)
            for name in changed:
                supervisor.removeProcessGroup(name)
                supervisor.addProcessGroup(name)

    def states(self) -> dict[str, str]:
        """Return {program: state} in supervisord's words, lower case; empty where it is down."""
        try:
            with self._connect() as supervisor:
                return {info["name"]: info["statename"].lower() for info in supervisor.getAllProcessInfo()}
        except (OSError, xmlrpc.client.Error):
            return {}

    def start(self, programs: Iterable[str], *, timeout_s: float = 60) -> str | None:
        """Start programs together; return the first that does not stay up, or None once all run."""
        wanted = tuple(programs)
        with self._connect() as supervisor:
            for name in wanted:
                if self.states()[name] not in ("running", "starting"):
                    supervisor.startProcess(name, False)
        _wait_until(lambda: self._is_settled(wanted), timeout_s=timeout_s)
        states = self.states()
        return next((name for name in wanted if states.get(name) != "running"), None)

    def stop(self, programs: Iterable[str], *, timeout_s: float = 60) -> None:
        """Stop programs together and wait for the last process of each."""
        wanted = tuple(programs)
        with self._connect() as supervisor:
            for name in wanted:
                if self.states()[name] not in ("stopped", "exited", "fatal"):
                    supervisor.stopProcess(name, False)
        ended = ("stopped", "exited", "fatal")
        _wait_until(lambda: all(self.states().get(name) in ended for name in wanted), timeout_s=timeout_s)
        end_processes(process for process in self.processes() if _program_of(process) in wanted)

    def shut_down(self, *, timeout_s: float = 60) -> None:
        """Stop everything, supervisord too, and end what a killed supervisord may have left behind."""
        if self.is_running():
            # One after the other would take the sum of their times.
            self.stop(self.states(), timeout_s=timeout_s)
            with self._connect() as supervisor:
                supervisor.shutdown()
            _wait_until(lambda: not self.is_running() and not self.processes(), timeout_s=timeout_s)
        end_processes(self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return every live process that descends from this home's supervisord, and itself."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self._home) and process.pid != os.getpid():
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def _is_settled(self, programs: tuple[str, ...]) -> bool:
        states = [self.states().get(name, "unknown") for name in programs]
        return all(state == "running" for state in states) or any(state in _DEAD_STATES for state in states)

    @contextmanager
    def _connect(self) -> Iterator[Any]:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self._socket_path}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as proxy:
            yield proxy.supervisor


def end_processes(processes: Iterable[psutil.Process], *, timeout_s: float = 10) -> None:
    """Ask processes to end, and kill those that do not."""
    ending = list(processes)
    for verb in ("terminate", "kill"):
        _signal(filter(is_living, ending), verb)
        if _wait_until(lambda: not any(map(is_living, ending)), timeout_s=timeout_s):
            return


def is_living(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie has ended and only waits for its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], verb: str) -> None:
    for process in processes:
        try:
            getattr(process, verb)()
        except psutil.NoSuchProcess:
            continue


def _program_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("SUPERVISOR_PROCESS_NAME")
    except (psutil.Error, OSError):
        return None


def _wait_until(is_true, *, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
