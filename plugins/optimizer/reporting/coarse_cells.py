"""What a run says of a log with more cells than `max_cells`."""

import math

from optimizer.core.landscape.cells import PRICE_BUCKET_WIDTH
from optimizer.core.landscape.grain import FINE_DAYS, Grain
from optimizer.core.records.coarse_cells import CoarseCells
from optimizer.presentation.formats import count


def coarse_sentence(coarse: CoarseCells) -> str:
    """Return how many cells the log has, what was made coarser because of that, and which features were left out."""
    parts = [*_grain_parts(coarse.grain)]
    judged = [score for score in coarse.left_out if score.feature_name not in coarse.unjudged]
    if judged:
        parts.append(f"without {', '.join(score.feature_name for score in judged)}, which would not join the key")
    if coarse.unjudged:
        parts.append(f"without {', '.join(coarse.unjudged)}, unjudged")
    if coarse.domain_price_buckets > 1:
        parts.append(f"with price buckets of {bucket_percent(coarse.domain_price_buckets)} % by domain")
    if coarse.cut:
        parts.append(f"without the {' and '.join(coarse.cut)} with the fewest bids, whose multiplier is 1")
    return (
        f"The log has {count(coarse.finest_cells)} cells, max_cells is {count(coarse.max_cells)}: it was read "
        f"{'; '.join(parts)}"
    )


def bucket_percent(buckets: int) -> int:
    """Return by how many percent the ends of that many merged price buckets differ."""
    return round(100 * math.expm1(buckets * PRICE_BUCKET_WIDTH))


def _grain_parts(grain: Grain) -> list[str]:
    parts = []
    if grain.price_buckets > 1:
        parts.append(f"with price buckets of {bucket_percent(grain.price_buckets)} %")
    if grain.base_buckets > 1:
        parts.append(f"base price buckets of {bucket_percent(grain.base_buckets)} %")
    if grain.older_price_buckets > grain.price_buckets:
        parts.append(
            f"price buckets of {bucket_percent(grain.older_price_buckets)} % before the latest {FINE_DAYS} days"
        )
    if grain.older_days > 1:
        parts.append(f"{grain.older_days} days as one before the latest {FINE_DAYS}")
    return parts
