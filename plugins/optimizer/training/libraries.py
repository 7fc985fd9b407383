"""Imported first by the training process, which waits for its job meanwhile: what the job would load later.

LightGBM would import scikit-learn where there is one, half a second.
"""

import sys

import pyarrow.dataset
import pyarrow.parquet  # noqa: F401  # pandas imports them to read the cells

sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]  # None: importing it fails, as where it is missing
