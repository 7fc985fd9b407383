"""The runs of the latest what-ifs, kept between two questions."""

from collections import OrderedDict
from datetime import datetime
from threading import Lock

from sqlalchemy import Engine

from optimizer.artifacts.store import ObjectStore
from optimizer.runs.what_if import WhatIf, load_what_if

MOST_KEPT = 4
"""The curves of one run take up to a hundred megabytes."""


class KeptWhatIfs:
    """The runs that were asked for last: a run never changes, but what is live and the day do."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str | None, str], WhatIf] = OrderedDict()
        self._lock = Lock()

    def find(
        self, run_id: str, *, live_run_id: str | None, engine: Engine, store: ObjectStore, now: datetime
    ) -> WhatIf:
        """Return the run, read once for each live run and day.

        Raises:
            RunStateError, ArtifactError: as `load_what_if`.
        """
        key = (run_id, live_run_id, now.date().isoformat())
        with self._lock:
            if (found := self._kept.get(key)) is None:
                found = load_what_if(run_id, engine=engine, store=store, now=now)
                while len(self._kept) >= MOST_KEPT:
                    self._kept.popitem(last=False)
                self._kept[key] = found
            self._kept.move_to_end(key)
            return found
