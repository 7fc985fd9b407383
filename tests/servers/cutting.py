"""A server on the network's other side whose connections break in the middle of what it says."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PART = 65_536


@dataclass
class Cuts:
    """Each connection breaks after this many bytes of the server; None: it does not. `said` counts the last one's."""

    after: int | None = None
    said: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def cutting_port(port: int) -> Iterator[tuple[int, Cuts]]:
    """Give a port of the loopback that passes on what comes to the other one, and what breaks its connections."""
    ending, cuts = threading.Event(), Cuts()
    threads: list[threading.Thread] = []

    def accept(server: socket.socket) -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                client = server.accept()[0]
                threads.append(threading.Thread(target=_connect, args=(client, port, cuts, ending)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.05)
        threads.append(threading.Thread(target=accept, args=(server,)))
        threads[0].start()
        try:
            yield server.getsockname()[1], cuts
        finally:
            ending.set()
            for thread in threads:
                thread.join()


def _connect(client: socket.socket, port: int, cuts: Cuts, ending: threading.Event) -> None:
    with cuts.lock:
        cuts.said = 0
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        asking = threading.Thread(target=_ask, args=(client, server, ending))
        asking.start()
        _answer(server, client, cuts, ending)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        asking.join()


def _ask(client: socket.socket, server: socket.socket, ending: threading.Event) -> None:
    for part in _parts(client, ending):
        with suppress(OSError):
            server.sendall(part)


def _answer(server: socket.socket, client: socket.socket, cuts: Cuts, ending: threading.Event) -> None:
    for part in _parts(server, ending):
        with cuts.lock:
            left = len(part) if cuts.after is None else max(cuts.after - cuts.said, 0)
            cuts.said += len(part)
        with suppress(OSError):
            client.sendall(part[:left])
        if left < len(part):
            return


def _parts(source: socket.socket, ending: threading.Event) -> Iterator[bytes]:
    source.settimeout(0.05)
    while not ending.is_set():
        try:
            part = source.recv(_PART)
        except TimeoutError:
            continue
        except OSError:
            return
        if not part:
            return
        yield part
