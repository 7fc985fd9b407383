"""A network between client and server: what the server says arrives late, or breaks off in the middle."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PART = 65_536


@dataclass
class Line:
    """How the network behaves now.

    after: bytes of the server after which each connection breaks; None: it does not. `said` counts the last one's.
    late_s: seconds by which each answer is late.
    """

    after: int | None = None
    late_s: float = 0.0
    said: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def line_to(port: int) -> Iterator[tuple[int, Line]]:
    """Give a port of the loopback that passes on what comes to the other one, and how it does so."""
    ending, line = threading.Event(), Line()
    threads: list[threading.Thread] = []

    def accept(server: socket.socket) -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                client = server.accept()[0]
                threads.append(threading.Thread(target=_connect, args=(client, port, line, ending)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.05)
        threads.append(threading.Thread(target=accept, args=(server,)))
        threads[0].start()
        try:
            yield server.getsockname()[1], line
        finally:
            ending.set()
            for thread in threads:
                thread.join()


def _connect(client: socket.socket, port: int, line: Line, ending: threading.Event) -> None:
    with line.lock:
        line.said = 0
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        asking = threading.Thread(target=_ask, args=(client, server))
        asking.start()
        answering = threading.Thread(target=_answer, args=(server, client, line, ending))
        answering.start()
        while answering.is_alive() and not ending.wait(0.02):
            pass
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # what the threads wait for ends
        asking.join()
        answering.join()


def _ask(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while part := client.recv(_PART):
            server.sendall(part)
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)  # the client is gone: the server hears it, and frees what it held for it


def _answer(server: socket.socket, client: socket.socket, line: Line, ending: threading.Event) -> None:
    with suppress(OSError):
        while part := server.recv(_PART):
            with line.lock:
                left = len(part) if line.after is None else max(line.after - line.said, 0)
                line.said += len(part)
            ending.wait(line.late_s)
            client.sendall(part[:left])
            if left < len(part):
                return
