"""A server on the network's other side: whatever it says arrives late."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PART = 65_536


@contextmanager
def late_port(port: int, *, by_s: float) -> Iterator[int]:
    """Give a port of the loopback that passes on what comes to the other one, each answer that much later."""
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def accept(server: socket.socket) -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                client = server.accept()[0]
                threads.append(threading.Thread(target=_connect, args=(client, port, by_s, ending)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.05)
        threads.append(threading.Thread(target=accept, args=(server,)))
        threads[0].start()
        try:
            yield server.getsockname()[1]
        finally:
            ending.set()
            for thread in threads:
                thread.join()


def _connect(client: socket.socket, port: int, by_s: float, ending: threading.Event) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        asking = threading.Thread(target=_pass_on, args=(client, server, 0.0, ending))
        asking.start()
        _pass_on(server, client, by_s, ending)
        asking.join()


def _pass_on(source: socket.socket, sink: socket.socket, by_s: float, ending: threading.Event) -> None:
    source.settimeout(0.05)
    while not ending.is_set():
        try:
            part = source.recv(_PART)
        except TimeoutError:
            continue
        except OSError:
            break
        if not part:
            break
        ending.wait(by_s)
        try:
            sink.sendall(part)
        except OSError:
            break
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
