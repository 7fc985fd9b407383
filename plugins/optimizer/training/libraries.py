"""Imported first by the training process: LightGBM would import scikit-learn where there is one, half a second."""

import sys

sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]  # None: importing it fails, as where it is missing
