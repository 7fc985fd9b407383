"""Imported first by the training process, which waits for its job meanwhile: what the job would load later.

LightGBM would import scikit-learn where there is one, half a second; only its training on a Dask cluster needs it.
"""

import os
import sys

import pyarrow.dataset
import pyarrow.parquet  # noqa: F401  # pandas imports them to read the cells

from optimizer.names import DASK_SCHEDULER_VARIABLE

if DASK_SCHEDULER_VARIABLE in os.environ:
    import optimizer.training.cluster  # noqa: F401
else:
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]  # importing it fails, as where it is missing
