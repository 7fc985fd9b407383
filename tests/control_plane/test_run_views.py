"""One run with what happened to it, and an entity's runs page by page."""

from datetime import date, timedelta

import pytest
from control_plane.catalog import NOW, complete_sample, open_sample, sample_results, start_sample
from sqlalchemy import Engine, event

from optimizer.control_plane import run_views
from optimizer.control_plane.audit import Author
from optimizer.control_plane.deployments import deploy
from optimizer.control_plane.live_records import replace_days, replace_verdicts
from optimizer.control_plane.live_rows import LiveDay, LiveVerdict
from optimizer.control_plane.registry import RunFigures, register_dry_run, register_results
from optimizer.control_plane.runs import fail_run, read_run

ENTITY = "drugs_hcp"
HOUR = timedelta(hours=1)


@pytest.fixture
def runs(engine: Engine) -> list[str]:
    """Runs of drugs_hcp, an hour apart: two are live, then one invalid, one failed, one in progress and a dry run."""
    first = complete_sample(engine, "first")
    warned = open_sample(engine, "warned", now=NOW + HOUR).run_id
    start_sample(engine, warned)
    register_results(engine, warned, results=sample_results(validation_warnings=2), now=NOW + HOUR)
    invalid = complete_sample(engine, "invalid", validation_status="failed", now=NOW + 2 * HOUR)
    failed, running, dry = (open_sample(engine, f"{n}th", now=NOW + n * HOUR).run_id for n in (3, 4, 5))
    for run_id in (failed, dry):
        start_sample(engine, run_id)
    fail_run(engine, failed, message="extract: no login", now=NOW)
    figures = sample_results().model_dump(exclude={"s3_output_path", "outputs"})
    register_dry_run(engine, dry, figures=RunFigures.model_validate(figures), now=NOW)
    deploy(engine, entity_code=ENTITY, split={first: 70, warned: 30}, author=Author("anna", comment="try"), now=NOW)
    return [first, warned, invalid, failed, running, dry]


def test_a_run_is_found_with_the_code_of_its_entity(engine: Engine, runs: list[str]):
    run, code = run_views.find_owner(engine, runs[1])
    assert (run, code) == (read_run(engine, runs[1]), ENTITY)
    assert run_views.find_owner(engine, "nobody") is None


def test_a_view_has_all_that_happened_to_the_run_and_nothing_of_others(engine: Engine, runs: list[str]):
    first, warned = runs[:2]
    days = [
        LiveDay(run_id=one, day=date(2026, 2, n), bids=10 * n, wins=n, clicks=0) for n in (3, 4) for one in runs[:2]
    ]
    replace_days(engine, 1, days, now=NOW)
    for n in (4, 5):
        verdicts = [
            LiveVerdict(
                run_id=one, compared_with="forecast", figure="cpm", verdict="inconclusive", days=n, live=float(n)
            )
            for one in runs[:2]
        ]
        replace_verdicts(engine, 1, verdicts, measured_on=date(2026, 2, n), now=NOW)
    deploy(engine, entity_code=ENTITY, split={first: 100}, author=Author("bert"), now=NOW + HOUR)
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    view = run_views.read_view(engine, read_run(engine, warned), ENTITY)
    assert len([text for text in statements if text.startswith("SELECT")]) <= 1 + 6
    assert [(day.day.day, day.bids) for day in view.days] == [(3, 30), (4, 40)]
    assert run_views.read_days_of(engine, 1, [first]) == [day for day in days if day.run_id == first]
    assert run_views.read_days_of(engine, 2, [first]) == []
    assert [(found.run_id, found.days) for found in view.verdicts] == [(warned, 5)]
    assert [(one.traffic_pct, one.deployed_by, one.is_active) for one in view.deployments] == [(30, "anna", False)]
    assert [feature.feature_name for feature in view.features] == ["geo_region_name", "os_code"]
    assert [output.output_type for output in view.outputs] == ["memcache"]


KINDS = {
    "all": (5, 4, 3, 2, 1, 0),
    "deployable": (1, 0),
    "warned": (1,),
    "failed": (3, 2),
    "running": (4,),
    "dry run": (5,),
    "live": (1, 0),
}


@pytest.mark.parametrize(("kind", "places"), KINDS.items(), ids=str)
def test_runs_are_listed_by_kind_the_newest_first(engine: Engine, runs: list[str], kind, places):
    found = run_views.list_page(engine, ENTITY, kind=kind, limit=10)
    assert ([run.run_id for run in found.runs], found.total) == ([runs[place] for place in places], len(places))
    assert found.percents == {runs[0]: 70, runs[1]: 30}
    assert all(run.config_snapshot is None for run in found.runs)


def test_pages_follow_each_other_and_a_search_is_taken_as_it_is_written(engine: Engine, runs: list[str]):
    pages = [run_views.list_page(engine, ENTITY, limit=4, offset=offset) for offset in (0, 4, 8)]
    assert [run.run_id for page in pages for run in page.runs] == runs[::-1]
    assert {page.total for page in pages} == {6}
    for search, number in ((runs[0], 1), (runs[0][:8], 6), ("%", 0), ("2_26", 0)):
        assert run_views.list_page(engine, ENTITY, search=search, limit=10).total == number
    assert run_views.list_page(engine, "nobody", limit=10).total == 0


def test_runs_that_can_be_compared_have_results_and_the_live_one_has_most_traffic(engine: Engine, runs: list[str]):
    found = [run.run_id for run in run_views.newest_comparable(engine, ENTITY, limit=10)]
    assert found == [runs[place] for place in (5, 2, 1, 0)]
    assert run_views.newest_comparable(engine, "drugs_com", limit=10) == []
    assert run_views.read_live_run_id(engine, ENTITY) == runs[0]
    assert run_views.read_live_run_id(engine, "drugs_com") is None
