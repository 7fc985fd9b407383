"""What is put in order before this process forks, and after it in both processes.

SQLite asks that no connection is open at a fork, and none of its calls under way: its locks would then be those of two
processes. A lock of Python that another thread holds at the fork is never released in the child.
"""

import os
import threading
from dataclasses import dataclass, field
from weakref import WeakSet

opening = threading.Lock()
"""Held while SQLite opens, or reads, a file outside of a queue's own locks; no fork happens meanwhile."""

WAIT_S = 5.0
"""The longest that a fork waits for a lock; a disk that hangs delays the program no longer."""


class ForkAware:
    """An object that knows of forks from its first `watch_forks` on."""

    def watch_forks(self) -> None:
        _watching.add(self)

    def before_fork(self) -> None:
        """Called before a fork, in the thread that forks."""

    def after_fork(self, *, is_child: bool) -> None:
        """Called after a fork in both processes; the child has one thread."""


_watching: WeakSet[ForkAware] = WeakSet()


@dataclass(slots=True)
class _Fork:
    """The fork that is under way; forks of several threads wait for each other."""

    holds_opening: bool = False
    watching: list[ForkAware] = field(default_factory=list)

    def before(self) -> None:
        self.holds_opening = opening.acquire(timeout=WAIT_S)
        self.watching = list(_watching)
        for one in self.watching:
            one.before_fork()

    def after(self, *, is_child: bool) -> None:
        for one in self.watching:
            one.after_fork(is_child=is_child)
        self.watching = []
        if self.holds_opening or (is_child and opening.locked()):
            opening.release()
        self.holds_opening = False


_fork = _Fork()
os.register_at_fork(
    before=_fork.before,
    after_in_parent=lambda: _fork.after(is_child=False),
    after_in_child=lambda: _fork.after(is_child=True),
)
