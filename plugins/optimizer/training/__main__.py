"""`python -m optimizer.training FOLDER`: run the training job of the folder, for as long as standard input is open."""

import os
import sys
import threading
from pathlib import Path

from optimizer.errors import DataError
from optimizer.training.fitting import fit_models
from optimizer.training.job import DATA_ERROR_STATUS


def end_with_standard_input() -> None:
    """End this process once standard input ends: whoever waited for the result is gone, and may have begun again."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    try:
        fit_models(Path(sys.argv[1]))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(DATA_ERROR_STATUS)
