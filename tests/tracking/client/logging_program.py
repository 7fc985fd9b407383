"""A program that logs a run until it is killed, and prints what it has logged.

ADDRESS KEY FOLDER NAME ITERATIONS [CLIENT_ID]
"""

import sys
from pathlib import Path

from optimization_tracking.client import ClientSettings, track_run

address, key, folder, name, iterations, *client_id = sys.argv[1:]
settings = ClientSettings(address, key, queue_folder=Path(folder), timeout_s=2)
with track_run(name, optimizer_type="custom", settings=settings, client_id=next(iter(client_id), None)) as run:
    for number in range(int(iterations)):
        run.log_iteration(number, score=number / 2)
        run.log_sample(number, 0, is_correct=True)
        print(number, flush=True)
    print("all logged", flush=True)
    sys.stdin.read()  # until it is killed
