"""Whether the bidder splits the traffic as deployed: the check of the warehouse's counts, in words."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from optimizer.control_plane.alerts import Incident
from optimizer.control_plane.records import Deployment
from optimizer.control_plane.splits import group_splits, percents_of
from optimizer.core.live.split_check import SplitCause, SplitCheck, check_split
from optimizer.warehouse.extraction import Window
from optimizer.warehouse.split_counts import SplitCounts

SETTLED_AFTER = timedelta(hours=1)
"""The bids of a split's first hour do not count: every bidder loads it within minutes."""

LEAST_NAMED_SHARE = 0.9
"""NPIs decide where this share of the bids has one; else they say too little of the bids of all other visitors."""

_NEXT_STEPS = {
    SplitCause.STALE_SPLIT: "the bidder has not loaded the split; check `/health` of every bidder",
    SplitCause.ONE_PLACE: "the mismatch is at {place} only; check the bidder that serves it",
    SplitCause.SHARED_ID: "one id has a large share of the bids; look for a caller that sends one user id for all",
}
_UNKNOWN = (
    "The cause is not known; compare the version and `/health` of every bidder, and check whether a run bids on fewer "
    "of its requests than the others"
)


def split_window(active: Sequence[Deployment], *, object_id: int, end_day: date, longest: timedelta) -> Window | None:
    """Return the time whose bids show the active split, at most `longest`; None where it is too young.

    Args:
        end_day: the first UTC day whose events are not all there yet.
    """
    end = datetime.combine(end_day, time(), UTC)
    start = max(*(row.deployed_at + SETTLED_AFTER for row in active), end - longest)
    return Window(object_id=object_id, data_start_at=start, data_end_at=end) if start < end else None


def judge_split(counts: SplitCounts, *, history: Sequence[Deployment], active: Sequence[Deployment]) -> SplitCheck:
    """Return whether the bids are split as deployed.

    Args:
        history: the entity's deployments; bids of other systems' runs do not count.
    """
    own = {row.run_id for row in history}
    by_day, by_place = (table[table["run_id"].isin(own)] for table in (counts.by_day, counts.by_place))
    named = sum(bids for run_id, bids in counts.named_bids.items() if run_id in own)
    is_counted = named >= LEAST_NAMED_SHARE * max(by_day["bids"].sum(), 1.0)
    earlier = [split.percents for split in group_splits(history) if not split.is_active]
    return check_split(
        by_day,
        percents=percents_of(active),
        previous_percents=earlier[-1] if earlier else None,
        ids={run_id: ids for run_id, ids in counts.ids.items() if run_id in own} if is_counted else None,
        places=by_place,
        largest_id_bids=counts.largest_id_bids,
    )


def mismatch(entity_code: str, check: SplitCheck) -> Incident | None:
    """Return what a person should look at where the split is off: the shares, the likely causes and the next step."""
    if not check.is_off:
        return None
    shares = "; ".join(
        f"run {share.run_id} was deployed with {100 * share.deployed:.3g} % and has "
        f"{100 * share.bids:.3g} % of the bids"
        + ("" if share.ids is None else f" and {100 * share.ids:.3g} % of the ids")
        for share in check.shares
    )
    causes = ". ".join(f"Likely: {_NEXT_STEPS[cause].format(place=check.place)}" for cause in check.causes)
    return Incident(
        "split_mismatch",
        f"entity {entity_code}: the traffic is not split as deployed: {shares}. "
        f"{causes or _UNKNOWN}. Until the shares are as deployed, runs are not compared with each other, and the "
        "monitor makes no canary step, promotion or auto_rollback",
    )
