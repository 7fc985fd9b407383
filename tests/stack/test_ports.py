import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.stack import LocalStack
from lab.stack.ports import PortClaims
from lab.stack.settings import PREFERRED_PORTS

PROCESSES = 8
CLAIM = """
import sys
from lab.stack.ports import PortClaims

with PortClaims() as claims:
    print("ready", flush=True)
    sys.stdin.readline()
    print(*(claims.claim(int(port)) for port in sys.argv[1:]), flush=True)
    sys.stdin.readline()
"""
"""Choose on a line of input, and keep what was chosen until the next."""


@pytest.fixture
def free_ports() -> list[int]:
    with PortClaims() as claims:
        return [claims.claim() for _ in PREFERRED_PORTS]


def ports_of(stack: LocalStack) -> list[int]:
    return [getattr(stack.settings, name) for name in PREFERRED_PORTS]


def test_processes_that_want_the_same_ports_at_the_same_time_choose_none_twice(free_ports: list[int]):
    command = [sys.executable, "-c", CLAIM, *map(str, free_ports)]
    with ExitStack() as processes:
        choosers = [
            processes.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        assert [chooser.stdout.readline() for chooser in choosers] == ["ready\n"] * PROCESSES
        for chooser in choosers:
            print(file=chooser.stdin, flush=True)
        chosen = [int(port) for chooser in choosers for port in chooser.stdout.readline().split()]
        for chooser in choosers:
            chooser.communicate("\n", timeout=30)
    assert len(set(chosen)) == len(chosen) == PROCESSES * len(free_ports)
    assert set(free_ports) <= set(chosen)


def test_a_claim_ends_with_its_process(free_ports: list[int]):
    command = [sys.executable, "-c", CLAIM, *map(str, free_ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as chooser:
        chooser.stdout.readline()
        print(file=chooser.stdin, flush=True)
        assert chooser.stdout.readline().split() == [str(port) for port in free_ports]
        with PortClaims() as claims:
            assert claims.claim(free_ports[0]) not in free_ports
        chooser.kill()
        chooser.wait(timeout=30)
    with PortClaims() as claims:
        assert claims.claim(free_ports[0]) == free_ports[0]


def test_a_server_binds_a_port_that_is_claimed_for_it_and_keeps_it_after_the_claim():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with PortClaims() as claims:
            port = claims.claim()
            server.bind(("127.0.0.1", port))
            server.listen()
        with PortClaims() as claims:
            assert claims.claim(port) != port


def test_stacks_that_start_at_the_same_time_on_the_same_ports_share_none(
    tmp_path: Path, free_ports: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lab.stack.settings.PREFERRED_PORTS", dict(zip(PREFERRED_PORTS, free_ports, strict=True)))
    stacks = [LocalStack.open(tmp_path / name) for name in "abc"]
    assert [ports_of(stack) for stack in stacks] == [free_ports] * 3
    try:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda stack: stack.start("objects"), stacks))
        for stack in stacks:
            stack.wait_ready(30)
            stack.ensure_bucket("own")
            assert LocalStack.open(stack.home.path).settings == stack.settings
        ports = [port for stack in stacks for port in ports_of(stack)]
        assert len(set(ports)) == len(ports)
    finally:
        for stack in stacks:
            stack.stop()
