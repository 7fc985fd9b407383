"""A server that takes connections and never says a word, and one that says it very slowly."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_port() -> Iterator[int]:
    """Give a port of the loopback whose connections are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@contextmanager
def dripping_port(head: bytes, drop: bytes, *, every_s: float) -> Iterator[int]:
    """Give a port that answers each connection with `head`, and then with one `drop` after another."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threads = [threading.Thread(target=_accept, args=(server, ending, head, drop, every_s))]
        threads[0].start()
        try:
            yield server.getsockname()[1]
        finally:
            ending.set()
            threads[0].join()


def _accept(server: socket.socket, ending: threading.Event, head: bytes, drop: bytes, every_s: float) -> None:
    server.settimeout(0.05)
    held: list[socket.socket] = []
    drips: list[threading.Thread] = []
    while not ending.is_set():
        try:
            held.append(server.accept()[0])
        except TimeoutError:
            continue
        drips.append(threading.Thread(target=_drip, args=(held[-1], ending, head, drop, every_s)))
        drips[-1].start()
    for thread in drips:
        thread.join()
    for connection in held:
        connection.close()


def _drip(connection: socket.socket, ending: threading.Event, head: bytes, drop: bytes, every_s: float) -> None:
    connection.recv(65_536)
    try:
        connection.sendall(head)
        while not ending.wait(every_s):
            connection.sendall(drop)
    except OSError:
        return  # the client is gone
