"""How exact a split of the traffic is, and whether another process gives every id to the same run.

`python -m lab.benchmarks.bidder.split N` prints one letter an id: which of the two runs it falls to.
"""

import subprocess
import sys

from lab.benchmarks.figures import Figure
from optimizer.core.serving.traffic import TrafficSplit

PERCENTS = {"A": 80, "B": 20}
POINTS_BOUND = 0.2


def measure_split(*, ids: int) -> list[Figure]:
    """Return how far the shares of that many ids are from 80 and 20, and how many ids a new process gives elsewhere."""
    here = run_letters(ids)
    command = [sys.executable, "-m", "lab.benchmarks.bidder.split", str(ids)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    moved = sum(one != other for one, other in zip(here, there, strict=True))
    points = abs(100 * here.count("A") / ids - PERCENTS["A"])
    return [
        Figure(f"80/20 over {ids:,} ids", points, POINTS_BOUND, "points off", "points", 1.0),
        Figure("ids that a new process gives to another run", moved, ids, "ids", "rows", 0.0),
    ]


def run_letters(ids: int) -> str:
    """Return the run of each id as one letter."""
    split = TrafficSplit.create(PERCENTS, entity_code="drugs_hcp")
    return "".join([split.run_of(f"user-{number}") for number in range(ids)])


if __name__ == "__main__":
    print(run_letters(int(sys.argv[1])))
