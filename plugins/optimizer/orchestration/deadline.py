"""An end to waiting, whatever is waited for."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from optimizer.errors import UnavailableError

Answer = TypeVar("Answer")


def within(seconds: float, ask: Callable[[], Answer], *, what: str) -> Answer:
    """Return what `ask` returns, which may itself send any number of requests that each are answered late.

    What is asked past the deadline goes on in a daemon thread, which ends with its own time-outs or the process.

    Raises:
        UnavailableError: there is no answer after that many seconds; names `what`.
        Exception: what `ask` raised.
    """
    answers: SimpleQueue[Callable[[], Answer]] = SimpleQueue()
    Thread(target=lambda: answers.put(_outcome(ask)), daemon=True, name=f"asking {what}").start()
    try:
        outcome = answers.get(timeout=seconds)
    except Empty:
        raise UnavailableError(f"{what} has not answered within {seconds:g} s") from None
    return outcome()


def _outcome(ask: Callable[[], Answer]) -> Callable[[], Answer]:
    try:
        answer = ask()
    except BaseException as error:  # raised where the answer is waited for
        failure = error

        def fail() -> Answer:
            raise failure

        return fail
    return lambda: answer
