"""Free TCP ports of the loopback, claimed so that no two stacks of a machine choose the same one in the same moment."""

import socket
from typing import Self

_LOOPBACK = "127.0.0.1"


class PortClaims:
    """TCP ports that this process keeps for its servers until it releases them or ends.

    A TCP port is claimed with the UDP socket of its number: the kernel gives that to one process only and takes it back
    from one that ended, and it keeps no server from the TCP port.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def claim(self, wanted: int = 0) -> int:
        """Return the wanted port if it is free and unclaimed, else any such port; it is claimed now."""
        port = wanted
        while not (port and self._try(port)):
            port = _unused_port()
        return port

    def release(self) -> None:
        """Give the ports up; servers that listen by now keep theirs."""
        while self._sockets:
            self._sockets.pop().close()

    def _try(self, port: int) -> bool:
        claim = socket.socket(type=socket.SOCK_DGRAM)
        # The claim comes first: only its holder checks whether a process listens.
        if _can_bind(claim, port) and _is_silent(port):
            self._sockets.append(claim)
            return True
        claim.close()
        return False


def _is_silent(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _can_bind(probe, port)


def _can_bind(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((_LOOPBACK, port))
    except OSError:
        return False
    return True


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return probe.getsockname()[1]
