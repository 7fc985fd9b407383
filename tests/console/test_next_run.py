"""What the split page says of the next scheduled run: the rules of `promote`, in words."""

from datetime import UTC, datetime, timedelta

import pytest

from optimizer.control_plane.records import Deployment, Entity, EntityDefinition
from optimizer.core.config.settings import config_catalogue
from optimizer.deployment.next_run import NextRun, next_run_effect

NOW = datetime(2026, 2, 12, 2, 30, tzinfo=UTC)
TOMORROW = NextRun(NOW + timedelta(hours=22))


def definition(control: str | None = None, **values: str) -> EntityDefinition:
    entity = Entity(
        entity_id=1,
        opt_id=1,
        entity_code="drugs_hcp",
        entity_name="Drugs",
        object_id=1334,
        object_type="ssp",
        current_version_id=1,
        active_run_id=None,
        s3_base_path="s3://bucket/drugs_hcp/",
        status="A",
        control_run_id=control,
    )
    return EntityDefinition(
        entity=entity,
        version_code="v3",
        config_keys=config_catalogue(),
        supported_keys=None,
        entity_values=values,
        feature_macros=(),
    )


def live(*, source: str = "scheduled", days_ago: float = 0, is_pinned: bool = False) -> list[Deployment]:
    return [
        Deployment(
            deployment_id=1,
            run_id="a",
            entity_id=1,
            traffic_pct=100,
            is_active=True,
            deployed_by="anna",
            deployed_at=NOW - timedelta(days=days_ago),
            deactivated_at=None,
            source=source,
            is_pinned=is_pinned,
        )
    ]


def say(rows, client=None, *, next_run: NextRun = TOMORROW, tried: str | None = None) -> str:
    return next_run_effect(client or definition(), rows, next_run=next_run, canary_run_id=tried, now=NOW)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "A validated run replaces this split: it gets all traffic."),
        ({"promotion": "approval"}, "A validated run waits for approval in Airflow; approved, it gets all traffic."),
        (
            {"promotion": "canary", "canary_plan": "5@1d, 20@2d"},
            "A validated run is tried on 5 % of the traffic, and the runs of this split share the rest.",
        ),
        ({"promotion": "none"}, "Runs do not change the split: with promotion “none” a run waits until you deploy it."),
    ],
)
def test_the_clients_promotion_decides(values, said):
    assert say(live(), definition(**values)) == f"The next scheduled run starts at 2026-02-13 00:30 UTC. {said}"


def test_a_control_keeps_its_share():
    assert say(live(), definition(control="c")).endswith("it gets all traffic but the control's 5 %.")


def test_a_pinned_split_stays_and_a_control_is_always_pinned():
    assert say(live(is_pinned=True)).endswith(
        "Scheduled runs do not change the split: it is pinned until you unpin it."
    )
    control = [row.model_copy(update={"source": "control", "is_pinned": True}) for row in live()]
    assert "A validated run replaces" in say([*live(), *control])


def test_a_split_that_a_user_set_is_left_alone_for_some_days():
    assert say(live(source="manual")).endswith(
        "Scheduled runs leave this split alone for 3 days (monitor_min_days), until 2026-02-15 02:30 UTC. After that a "
        "validated run replaces this split: it gets all traffic."
    )
    assert "A validated run replaces" in say(live(source="manual", days_ago=2.5))


def test_no_other_run_goes_live_beside_a_canary():
    assert say(live(), tried="b").endswith("No other run goes live while run b is being tried.")


@pytest.mark.parametrize(
    ("next_run", "said"),
    [
        (NextRun(None), "No scheduled run is planned. A validated run replaces"),
        (NextRun(None, is_paused=True), "The client's DAG is paused in Airflow, so no scheduled run starts now."),
    ],
)
def test_where_no_run_is_planned_it_says_so(next_run, said):
    assert say(live(), next_run=next_run).startswith(said)


def test_a_config_that_no_run_can_start_with_leaves_the_split():
    said = say(live(), definition(promotion="sometimes"))
    assert said.startswith("The next scheduled run cannot start, so this split stays:") and "sometimes" in said
