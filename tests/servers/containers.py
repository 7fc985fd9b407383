"""The containers of docker-compose.yaml on any Docker engine, apart from every other deployment of that engine.

The project, the image and the secrets have names and values of their own, and the engine chooses the published ports.
What is asked over HTTP is asked inside a container, because those ports may be on another machine.
"""

import json
import logging
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from project.compose import COMPOSE, make_secrets, variables

IMAGE_VARIABLE = "OPTIMIZER_IMAGE"
DOWN_TIMEOUT_S = 300

log = logging.getLogger("containers")


@dataclass(frozen=True)
class Container:
    """A container of one service, as the engine describes it; `health` is None where the service has no check."""

    service: str
    id: str
    is_running: bool
    health: str | None
    exit_code: int
    restarts: int


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its status, and its body, read where it is JSON."""

    status: int
    body: Any


def describe_missing_engine() -> str | None:
    """Return why no container can be started from here, or None where a Docker engine with Compose answers."""
    for command in (["docker", "compose", "version"], ["docker", "version", "--format", "{{.Server.Version}}"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError:
            return "there is no `docker` on PATH; install Docker Engine with its Compose plugin"
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` does not end; is DOCKER_HOST right?"
        if done.returncode:
            reason = " ".join((done.stderr or done.stdout).split())[:200]
            return f"`{' '.join(command)}` failed: {reason}"
    return None


class Containers:
    """One deployment of docker-compose.yaml; `remove` leaves nothing of it but the build cache."""

    def __init__(self) -> None:
        """Make new secrets; nothing is started."""
        self.project = f"rtb-optimizer-test-{os.getpid()}"
        self.image = f"{self.project}:local"
        self.secrets = self.new_secrets()

    def new_secrets(self) -> dict[str, str]:
        """Return a new value for every secret, made as .env.example says; each `up` gives the containers `secrets`."""
        with TemporaryDirectory() as folder:
            return make_secrets(Path(folder))

    def compose(self, *arguments: str, stdin: str = "", timeout_s: float = 180, is_shown: bool = False) -> str:
        """Run `docker compose` and return what it printed, or show that while it runs.

        Raises:
            AssertionError: it failed; the message ends with what it wrote.
            subprocess.TimeoutExpired: it did not end in time.
        """
        began = time.monotonic()
        done = subprocess.run(
            ["docker", "compose", "--project-name", self.project, "--file", str(COMPOSE), *arguments],
            env=self._environment(),
            input=stdin,
            stdout=None if is_shown else subprocess.PIPE,
            stderr=None if is_shown else subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            check=False,
            # A Ctrl-C ends this process only, which then removes everything; a second one does not end that.
            start_new_session=True,
        )
        command = f"docker compose {' '.join(arguments)}"
        assert done.returncode == 0, f"{command} returned {done.returncode}: {(done.stderr or '')[-3000:]}"
        if is_shown:
            log.info("%s: %.0f s", command, time.monotonic() - began)
        return done.stdout or ""

    def _environment(self) -> dict[str, str]:
        # Nothing from the .env or the settings of a deployment of this checkout's own.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
        ports = {name: "0" for name in variables("-") if name.endswith("_PORT")}
        own = {"COMPOSE_DISABLE_ENV_FILE": "true", IMAGE_VARIABLE: self.image}
        return {**kept, **ports, **own, **self.secrets}

    def up(self) -> None:
        """Start every service, and return when those that run once have ended."""
        self.compose("up", "--detach", timeout_s=900, is_shown=True)

    def optimizer(self, *arguments: str) -> Any:
        """Run the project's command line in its container, and return its JSON."""
        return json.loads(self.compose("run", "--rm", "--no-TTY", "optimizer", *arguments, "--json"))

    def containers(self) -> dict[str, Container]:
        """Return {service: container}, those that have ended included."""
        ids = self.compose("ps", "--all", "--quiet").split()
        described = json.loads(docker("inspect", *ids)) if ids else []
        return {found.service: found for found in map(_container, described)}

    def sql(self, statements: str, *, user: str, password: str) -> list[list[str]]:
        """Run statements in the control plane; return the rows of those that give rows, each value as text."""
        login = 'read -r MYSQL_PWD && export MYSQL_PWD && exec mysql --batch --skip-column-names --user="$0" optimizer'
        printed = self.compose(
            *("exec", "--no-TTY", "mysql", "sh", "-c", login, user), stdin=f"{password}\n{statements}\n"
        )
        return [line.split("\t") for line in printed.splitlines()]

    def ask(self, url: str, *, service: str, method: str = "GET", body: Any = None, token: str | None = None) -> Answer:
        """Send a request from inside a service's container, and return the answer.

        Args:
            body: sent as JSON; None for none.
            token: for the header Authorization.
        """
        lines = [
            f"url = {_quoted(url)}",
            f"request = {method}",
            'write-out = "\\n%{http_code}"',
            "silent",
            "max-time = 60",
        ]
        if token is not None:
            lines.append(f"header = {_quoted(f'Authorization: Bearer {token}')}")
        if body is not None:
            lines += ['header = "Content-Type: application/json"', f"data-raw = {_quoted(json.dumps(body))}"]
        # Over stdin, because every process of the machine can read a command line, and the token is a secret.
        printed = self.compose("exec", "--no-TTY", service, "curl", "--config", "-", stdin="\n".join(lines))
        text, _, status = printed.rpartition("\n")
        return Answer(int(status), _read(text))

    def signal(self, service: str, name: str) -> None:
        """Send a signal to the service's first process, as the machine does: the engine does not know of it."""
        self.compose("exec", "--no-TTY", "--user", "root", service, "sh", "-c", f"kill -s {name} 1")

    def report(self) -> str:
        """Return the states of all containers and the ends of their logs."""
        states = self.compose("ps", "--all")
        return states + self.compose("logs", "--no-color", "--tail", "40")

    def down(self, *options: str) -> None:
        """Stop and remove the containers; volumes stay unless the options say otherwise."""
        self.compose("down", "--timeout", "60", *options, timeout_s=DOWN_TIMEOUT_S)

    def remove(self) -> None:
        """Remove containers, volumes, networks and the image, also if only some are there."""
        self.compose(
            "--profile", "*", "down", "--timeout", "5", "--volumes", "--remove-orphans", timeout_s=DOWN_TIMEOUT_S
        )
        if docker("image", "ls", "--quiet", self.image):
            docker("image", "rm", self.image)

    def leftovers(self) -> list[str]:
        """Return what the engine still has of this deployment."""
        of_project = ("--filter", f"label=com.docker.compose.project={self.project}", "--quiet")
        kinds = {"container": ("ps", "--all"), "volume": ("volume", "ls"), "network": ("network", "ls")}
        found = [f"{kind} {one}" for kind, command in kinds.items() for one in docker(*command, *of_project).split()]
        return found + [f"image {one}" for one in docker("image", "ls", "--quiet", self.image).split()]


def docker(*arguments: str) -> str:
    """Run `docker` and return what it printed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)} returned {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


def _container(described: Mapping[str, Any]) -> Container:
    state = described["State"]
    return Container(
        service=described["Config"]["Labels"]["com.docker.compose.service"],
        id=described["Id"],
        is_running=state["Running"],
        health=state["Health"]["Status"] if "Health" in state else None,
        exit_code=state["ExitCode"],
        restarts=described["RestartCount"],
    )


def _quoted(text: str) -> str:
    """Return the text as a value of curl's config file, whose escapes are those of JSON."""
    return json.dumps(text)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
