"""What a run that starts now would step from: the served bids of the live run, by the keys of the run looked at."""

import math
from collections.abc import Mapping

import pandas as pd

from optimizer.core.serving.keys import segment_key
from optimizer.runs.learned import ActiveBids
from optimizer.runs.planned_bids import STEP_FROM, PlannedBids, kept_bids


def plan_of_bids(
    bids: pd.DataFrame, *, features: tuple[str, ...], fallback_cpm: float, is_same_day: bool
) -> PlannedBids:
    """Return what `read_plan` reads of a run, from its bid table.

    Args:
        is_same_day: the next run starts on the day of this one, and takes its daily step from where this run took it.
    """
    served = bids[bids["is_served"]]
    start = STEP_FROM if is_same_day else "suggested_bid_cpm"
    keys = served["segment_key"].tolist()
    planned, step_from = (dict(zip(keys, served[name].tolist(), strict=True)) for name in ("planned_bid_cpm", start))
    return PlannedBids(features, planned, fallback_cpm, step_from_cpm=step_from, kept_cpm=kept_bids(served))


def bids_by_segment(plan: PlannedBids, segments: pd.DataFrame, *, features: tuple[str, ...]) -> ActiveBids | None:
    """Return what the plan bids on each segment; None where its key has a feature that segments do not have.

    Args:
        segments: segment_key and the features of the segments.
        features: of segment_key.
    """
    if not set(plan.features) <= set(segments.columns):
        return None
    own_keys = segments["segment_key"].tolist()
    keys = own_keys if plan.features == features else _keys_of(plan.features, segments)

    def by_segment(bids_cpm: Mapping[str, float]) -> dict[str, float]:
        known = {key: bid for key, bid in bids_cpm.items() if not math.isnan(bid)}
        return {own: known.get(key, plan.fallback_cpm) for own, key in zip(own_keys, keys, strict=True)}

    planned = by_segment(plan.planned_cpm)
    step_from, kept = (by_segment(bids) if bids else planned for bids in (plan.step_from_cpm, plan.kept_cpm))
    return ActiveBids(planned, step_from, plan.fallback_cpm, kept)


def _keys_of(features: tuple[str, ...], segments: pd.DataFrame) -> list[str]:
    values = segments[list(features)].astype(object)
    rows = values.where(values.notna(), None).itertuples(index=False, name=None)
    return [segment_key(row) for row in rows]
