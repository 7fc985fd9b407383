"""One of several processes that write to the same control plane: `python contention.py WORKER`.

For each line `ACTION URL` it says "ready", begins when it gets another line, and prints what it made as JSON; any error
ends it with a stack trace.
"""

import json
import sys
from datetime import timedelta

from control_plane.catalog import NOW, open_sample
from sqlalchemy import Engine

from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployment_history import read_active, read_history
from optimizer.control_plane.deployments import deploy, promote
from optimizer.control_plane.engine import open_engine
from optimizer.control_plane.promotions import Promotion
from optimizer.control_plane.rollbacks import rollback
from optimizer.control_plane.runs import list_runs
from optimizer.errors import PromotionRefused, SplitChanged

ROUNDS, WORKERS = 10, 4


def open_distinct(engine: Engine, worker: int) -> list[str]:
    """Open runs of two entities, all in the same second."""
    other = {"entity_id": 2, "entity_code": "drugs_com", "dag_id": "optimize__drugs_com"}
    fields = other if worker % 2 else {}
    return [open_sample(engine, f"worker {worker} round {turn}", **fields).run_id for turn in range(ROUNDS)]


def open_shared(engine: Engine, worker: int) -> list[str]:
    """Open the run of the same DAG runs as every other worker."""
    return [open_sample(engine, f"shared {turn}").run_id for turn in range(ROUNDS)]


def deploy_own(engine: Engine, worker: int) -> list[int]:
    """Deploy this worker's own split again and again, and return the sum of every split that was seen."""
    first, second = [run.run_id for run in reversed(list_runs(engine))][:2]
    share = 10 + worker
    seen = []
    for turn in range(ROUNDS):
        split = {first: share, second: 100 - share} if turn % 2 else {second: share, first: 100 - share}
        moment = NOW + timedelta(seconds=turn)
        mine = deploy(engine, entity_code="drugs_hcp", split=split, author=Author(f"worker {worker}"), now=moment)
        assert {row.run_id: row.traffic_pct for row in mine} == split
        seen.append(sum(row.traffic_pct for row in read_active(engine, "drugs_hcp")))
    return seen


def deploy_and_roll_back(engine: Engine, worker: int) -> list[int]:
    """Deploy and roll back in turn beside the other workers, and return the sum of every split that was seen.

    Each worker deploys splits of its own: one that is deployed again ends the way back to the splits after it.
    """
    first, second = [run.run_id for run in reversed(list_runs(engine))][:2]
    share, seen = 10 + 20 * worker, []
    for turn in range(ROUNDS):
        by = {"entity_code": "drugs_hcp", "author": Author(f"worker {worker}"), "now": NOW + timedelta(seconds=turn)}
        if turn % 2:
            rollback(engine, **by)
        else:
            deploy(engine, split={first: share + turn, second: 100 - share - turn}, **by)
        seen.append(sum(row.traffic_pct for row in read_active(engine, "drugs_hcp")))
    return seen


def roll_back_seen(engine: Engine, worker: int) -> list[bool]:
    """Roll back the split that all workers looked at; return whether it was this worker who did."""
    seen = [row.deployment_id for row in read_history(engine, "drugs_hcp") if row.deployed_by == "looked at"]
    try:
        rollback(engine, entity_code="drugs_hcp", author=Author(f"worker {worker}"), now=NOW, seen=seen)
    except SplitChanged:
        return [False]
    return [True]


def promote_days(engine: Engine, worker: int) -> list[str]:
    """Promote this worker's part of the backfilled days, the newest first, and return those that went live."""
    days = [
        run.run_id for run in sorted(list_runs(engine, limit=1000), key=lambda run: str(run.data_end_dt), reverse=True)
    ]
    promoted = []
    for run_id in days[worker::WORKERS]:
        try:
            promote(engine, Promotion(run_id), entity_code="drugs_hcp", author=Author("backfill"), now=NOW)
        except PromotionRefused:
            continue
        promoted.append(run_id)
    return promoted


def act(action: str, url: str, worker: int) -> None:
    """Do the action once the next line comes, on connections of its own."""
    engine = open_engine(url)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(globals()[action](engine, worker)), flush=True)
    engine.dispose()


if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        act(*line.split(), worker=int(sys.argv[1]))
