"""Click rates of segments, each pulled towards its parent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from optimizer.core.landscape.shrinkage import shrink_rates


def estimate_click_rates(segments: pd.DataFrame, features: Sequence[str], *, global_rate: float) -> np.ndarray:
    """Return the posterior mean click rate a view, shape (n_segments,).

    Every prefix of the features is a level; a level's rates are shrunk towards the level above, the first one towards
    `global_rate`, which also knows the views that matched no bid.

    Args:
        segments: one row a segment with the features, `click_views` and `clicks`.
    """
    rate = np.full(len(segments), global_rate)
    if global_rate <= 0:
        return rate
    for length in range(1, len(features) + 1):
        group = segments.groupby(list(features[:length]), observed=True, sort=False).ngroup().to_numpy()
        size = group.max() + 1
        views = np.bincount(group, segments["click_views"], minlength=size)
        clicks = np.bincount(group, segments["clicks"], minlength=size)
        parent = np.zeros(size)
        parent[group] = rate
        rate = shrink_rates(clicks, views, parent)[group]
    return rate
