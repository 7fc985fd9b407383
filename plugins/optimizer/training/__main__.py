"""`python -m optimizer.training FOLDER`: run the training job of the folder."""

import sys
from pathlib import Path

from optimizer.errors import DataError
from optimizer.training.fitting import fit_models
from optimizer.training.job import DATA_ERROR_STATUS

if __name__ == "__main__":
    try:
        fit_models(Path(sys.argv[1]))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(DATA_ERROR_STATUS)
