"""What is put in order before this process forks, and after it in both processes.

SQLite asks that no connection is open at a fork, and none of its calls under way: its locks would then be those of two
processes. A lock of Python that another thread holds at the fork is never released in the child.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from weakref import WeakValueDictionary

opening = threading.Lock()
"""Held while SQLite opens, or reads, a file outside of a queue's own locks; no fork happens meanwhile."""

WAIT_S = 5.0
"""The longest that a fork waits for a lock; a disk that hangs delays the program no longer."""


class ForkAware:
    """An object that knows of forks from its first `watch_forks` on."""

    def watch_forks(self) -> None:
        _watching[id(self)] = self

    def before_fork(self) -> None:
        """Called before a fork, in the thread that forks."""

    def after_fork(self, *, is_child: bool) -> None:
        """Called after a fork in both processes; the child has one thread."""


_watching: WeakValueDictionary[int, ForkAware] = WeakValueDictionary()

_turn = threading.Lock()
"""Held from before a fork until after it: forks of several threads come one after another."""


class _Fork(threading.local):
    """The fork that is under way in a thread."""

    has_turn = holds_opening = False
    watching: Sequence[ForkAware] = ()

    def before(self) -> None:
        self.has_turn = _turn.acquire()
        self.holds_opening = opening.acquire(timeout=WAIT_S)
        # The references are copied at once: other threads make and lose objects meanwhile.
        self.watching = [one for reference in _watching.valuerefs() if (one := reference()) is not None]
        with ExitStack() as calls:  # calls each, whatever another one raises
            for one in self.watching:
                calls.callback(one.before_fork)

    def after(self, *, is_child: bool) -> None:
        watching, holds_opening, has_turn = self.watching, self.holds_opening, self.has_turn
        self.watching, self.holds_opening, self.has_turn = (), False, False
        try:
            with ExitStack() as calls:
                for one in watching:
                    calls.callback(one.after_fork, is_child=is_child)
        finally:
            if holds_opening or (is_child and opening.locked()):
                opening.release()
            if has_turn or (is_child and _turn.locked()):
                _turn.release()


_fork = _Fork()
os.register_at_fork(
    before=lambda: _fork.before(),
    after_in_parent=lambda: _fork.after(is_child=False),
    after_in_child=lambda: _fork.after(is_child=True),
)
