"""One of several programs that log to one run: ADDRESS KEY FOLDER CLIENT_ID RANK; prints its report."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from optimization_tracking.client import ClientSettings, track_run

address, key, folder, client_id, rank = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder))
print("ready", flush=True)
sys.stdin.readline()
with track_run(
    client_id, optimizer_type="custom", settings=settings, client_id=client_id, config={"rank": rank}, flush_s=60
) as run:
    for number in range(50):
        run.log_iteration(50 * int(rank) + number, score=number)
print(json.dumps(asdict(run.report())))
