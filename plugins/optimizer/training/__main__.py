"""`python -m optimizer.training FOLDER`: run the training job of the folder, for as long as standard input is open.

The job is there once standard input has a line. Standard output has a line of JSON for each trial of the tuning, and
nothing else.
"""

import os
import sys
import threading
from pathlib import Path
from typing import IO

from optimizer.training import libraries  # noqa: F401  # before LightGBM
from optimizer.training.fitting import fit_models
from optimizer.training.job import ERROR_STATUSES, START


def wait_for_job() -> None:
    """Return once standard input has the line that starts the job."""
    if os.read(sys.stdin.fileno(), len(START)) != START:
        os._exit(1)


def end_with_standard_input() -> None:
    """End this process once standard input ends: nothing waits for the result anymore, or it was started again."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def claim_standard_output() -> IO[str]:
    """Return standard output for ourselves alone; what libraries print goes to standard error from now on."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


if __name__ == "__main__":
    trials = claim_standard_output()
    wait_for_job()
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    try:
        fit_models(Path(sys.argv[1]), on_trial=lambda trial: print(trial.model_dump_json(), file=trials, flush=True))
    except tuple(ERROR_STATUSES.values()) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(next(status for status, known in ERROR_STATUSES.items() if isinstance(error, known)))
