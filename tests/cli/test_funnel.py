"""`optimizer funnel`: from the bid request to the click, with what to do about each loss."""

import json
from datetime import UTC, datetime, timedelta

from cli.conftest import Command
from sqlalchemy import Engine

from optimizer.bidder.funnel import read_funnel
from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.control_plane.bidder_counts import HourCount, write_counts

ENTITY, RUN = "drugs_hcp", "20260203_150000"
BIDS = {Reason.SEGMENT, Reason.FALLBACK, Reason.NO_MACRO, Reason.CAP}


def count(engine: Engine, numbers: dict[str, int], *, run_id: str = RUN) -> None:
    """Write what bidders counted at noon yesterday."""
    now = datetime.now(UTC)
    hour = now.replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    counts = [HourCount(ENTITY, hour, run_id, outcome, number) for outcome, number in numbers.items()]
    write_counts(engine, "bidder", counts, now=now)


def test_every_outcome_is_a_bid_or_a_loss_with_a_cure(engine: Engine):
    outcomes = [UNREADABLE, *Reason]
    count(engine, dict.fromkeys(outcomes, 1))
    found = read_funnel(engine, ENTITY, days=1, now=datetime.now(UTC))
    losses = [loss for stage in found.stages for loss in stage.losses]
    assert len(losses) == sum(loss.impressions for loss in losses) == len(outcomes) - len(BIDS)
    assert all(loss.cure for loss in losses)
    assert found.stages[0].impressions == len(outcomes)
    assert [stage.impressions for stage in found.stages if stage.name.startswith("Bid")] == [len(BIDS)]


def test_the_table_has_each_stage_and_the_cure_beside_each_loss(engine: Engine, optimizer: Command):
    count(engine, {"segment": 700, "fallback": 40, "below_floor": 260})
    count(engine, {"currency": 1_000}, run_id="")
    done = optimizer("funnel", ENTITY)
    assert done.exit_code == 0
    for text in ("Asked", "2,000", "1,000 another currency", "260 bid below the floor", "37.0", "Raise max_bid_cpm"):
        assert text in done.stdout
    assert "Bids of a segment unknown to the run: 40." in done.stdout


def test_one_run_counts_what_it_priced(engine: Engine, optimizer: Command):
    count(engine, {"segment": 700})
    count(engine, {"segment": 50, "below_floor": 50}, run_id="20260204_150000")
    found = json.loads(optimizer("funnel", ENTITY, "--run", "20260204_150000", "--json").stdout)
    assert [stage["impressions"] for stage in found["stages"]][:6] == [100, 100, 100, 100, 100, 50]
    assert json.loads(optimizer("funnel", ENTITY, "--json").stdout)["stages"][0]["impressions"] == 800


def test_without_counts_it_says_what_to_check(optimizer: Command):
    done = optimizer("funnel", ENTITY, "--days", "7")
    assert done.exit_code == 0 and "No bidder has counted impressions of drugs_hcp from" in done.stdout
    assert "may write opt_bidder_counts" in done.stdout
    assert optimizer("funnel", "unknown").exit_code == 1
