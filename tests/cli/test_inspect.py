"""The commands that show runs and settings, against the rows of the control plane."""

from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Command, run
from control_plane.catalog import NOW, open_sample, sample_results, start_sample
from sqlalchemy import Engine, update

from optimizer.control_plane import entities, registry, runs, tables
from optimizer.control_plane.engine import transaction
from optimizer.control_plane.schema import head_revision

LISTED = ("status", "validation_status", "triggered_by", "total_bids", "segments_count", "bid_median", "error_message")


def newest_first(engine: Engine) -> list[Any]:
    return runs.list_runs(engine)


def test_runs_are_listed_newest_first_with_the_numbers_of_the_database(engine: Engine, optimizer_json: Any):
    printed, rows = optimizer_json("runs"), newest_first(engine)
    assert [row["run_id"] for row in printed] == [row.run_id for row in rows]
    assert len(rows) == 3
    for shown, row in zip(printed, rows, strict=True):
        assert {name: shown[name] for name in LISTED} == {name: getattr(row, name) for name in LISTED}


def test_the_table_of_runs_shows_what_its_json_says(engine: Engine, optimizer: Command):
    lines = optimizer("runs").stdout.splitlines()
    for row in newest_first(engine):
        line = next(line for line in lines if row.run_id in line)
        assert "drugs_hcp" in line and row.status in line
        assert row.total_bids is None or f"{row.total_bids:,}" in line


@pytest.fixture
def warned(engine: Engine) -> str:
    """Return a run that passed with two warnings, one of which holds it, and misses its target."""
    metrics = [
        ("validation", "expected_win_rate", 0.36),
        ("validation_limits", "expected_win_rate", 0.58),
        ("validation_verdicts", "expected_win_rate", 2),
        ("validation", "bid_stability_index", 0.09),
        ("validation_limits", "bid_stability_index", 0.07),
        ("validation_verdicts", "bid_stability_index", 1),
        ("validation_verdicts", "join_rate", 0),
        ("target", "target_win_rate", 0.65),
        ("target", "expected_win_rate", 0.36),
        ("target", "reachable_win_rate", 0.37),
        ("target", "share_cap", 0.78),
        ("forecast", "expected_win_rate", 0.312),
        ("forecast", "expected_win_rate_low", 0.287),
        ("forecast", "expected_win_rate_high", 0.338),
        ("identification", "is_learning", 1.0),
        ("identification", "learning_since", 20260203.0),
        ("identification", "learning_days_left", 2.1),
        ("identification", "bids_per_day", 5000.0),
    ]
    run = open_sample(engine, "warned", now=NOW.replace(hour=18))
    start_sample(engine, run.run_id)
    results = sample_results(validation_warnings=2, metrics=metrics)
    registry.register_results(engine, run.run_id, results=results, now=NOW)
    return run.run_id


def test_every_list_shows_the_warnings_of_a_run(warned: str, optimizer: Command, optimizer_json: Any):
    printed = optimizer("runs").stdout.splitlines()
    row = next(number for number, line in enumerate(printed) if warned in line)
    assert "passed with 2 warnings" in " ".join(line.split("│")[4].strip() for line in printed[row : row + 3])
    assert optimizer_json("runs")[0]["validation"] == "passed with 2 warnings"
    assert optimizer_json("runs")[0]["validation_status"] == "passed"
    shown = {row["entity_code"]: row["validation"] for row in optimizer_json("entities")["entities"]}
    assert shown == {"drugs_hcp": "passed", "drugs_com": None}


def test_show_says_learning_and_the_missed_target_first_then_forecast_outcome_and_warnings(
    warned: str, optimizer: Command
):
    learning, first, forecast, second, *rest = optimizer("show", warned).stdout.splitlines()
    assert learning.startswith("Learning since 2026-02-03: ") and learning.endswith("2 days at 5,000 bids a day.")
    assert "with 95 % intervals: win rate 31.2" in forecast
    assert first.startswith("target_win_rate 0.65 cannot be reached: at most 0.37 (limited by max_bid_cpm=30 on 78%")
    assert second.startswith("Validation passed with 2 warnings. The run does not go live automatically")
    text = "\n".join(rest)
    assert text.index("expected_win_rate") < text.index("bid_stability_index")
    assert "join_rate" not in text.split("Run ")[0]


def test_show_gives_programs_the_same(warned: str, optimizer_json: Any):
    shown = optimizer_json("show", warned)["validation"]
    assert shown["outcome"] == "passed with 2 warnings" and shown["target"].startswith("target_win_rate 0.65")
    assert shown["learning"].startswith("Learning since 2026-02-03")
    assert shown["forecast"] == {
        "expected_win_rate": 0.312,
        "expected_win_rate_low": 0.287,
        "expected_win_rate_high": 0.338,
    }
    assert [(check["check"], check["verdict"]) for check in shown["checks"]] == [
        ("expected_win_rate", "holds"),
        ("bid_stability_index", "warning"),
    ]
    assert all(check["message"] for check in shown["checks"])


@pytest.mark.parametrize(("arguments", "count"), [(("drugs_hcp",), 3), (("drugs_com",), 0), (("--limit", "2"), 2)])
def test_runs_can_be_narrowed_to_an_entity_and_a_number(optimizer_json: Any, arguments: tuple[str, ...], count: int):
    assert len(optimizer_json("runs", *arguments)) == count


def test_a_run_is_shown_with_its_features_metrics_and_outputs(engine: Engine, optimizer_json: Any):
    run_id = newest_first(engine)[-1].run_id
    shown = optimizer_json("show", run_id)
    assert shown["run"]["bid_median"] == runs.read_run(engine, run_id).bid_median
    assert shown["features"] == [feature.model_dump() for feature in registry.read_features(engine, run_id)]
    assert shown["metrics"] == [metric.model_dump() for metric in registry.read_metrics(engine, run_id)]
    assert shown["outputs"] == [output.model_dump() for output in registry.read_outputs(engine, run_id)]
    assert shown["macro_combination"] == "[ADX_GEO_STATE]|[ADX_USER_OS]"


def test_the_table_of_a_run_names_every_fact_and_keeps_the_brackets_of_its_key(engine: Engine, optimizer: Command):
    text = optimizer("show", newest_first(engine)[-1].run_id).stdout
    for part in ("5,000,000", "1,560,000", "geo_region_name", "wr_model_auc", "Key: [ADX_GEO_STATE]|[ADX_USER_OS]"):
        assert part in text


def test_a_failed_run_is_shown_with_its_message(engine: Engine, optimizer: Command):
    result = optimizer("show", newest_first(engine)[0].run_id)
    assert result.exit_code == 0
    assert "extract: the warehouse denied the login" in result.stdout


def test_outputs_are_listed_with_the_address_of_each(engine: Engine, optimizer: Command, optimizer_json: Any):
    run_id = newest_first(engine)[-1].run_id
    assert optimizer_json("outputs", run_id) == [item.model_dump() for item in registry.read_outputs(engine, run_id)]
    text = optimizer("outputs", run_id).stdout.replace("\n", "")
    assert "memcache" in text and "2,048" in text and "s3://tn-optimizer-data" in text


def test_entities_show_what_is_live_and_set_broken_ones_aside(engine: Engine, optimizer: Command, optimizer_json: Any):
    with transaction(engine) as connection:
        connection.execute(
            update(tables.entities).where(tables.entities.c.entity_code == "drugs_com").values(s3_base_path="nowhere")
        )
    shown, live = optimizer_json("entities"), newest_first(engine)[-1].run_id
    assert [(row["entity_code"], row["traffic"]) for row in shown["entities"]] == [("drugs_hcp", {live: 100})]
    broken = entities.read_definitions(engine)[1]
    assert shown["broken"] == [{"entity_code": broken[0].entity_code, "problem": broken[0].reason}]
    text = optimizer("entities").stdout
    assert f"{live} 100%" in text and "invalid" in text


def test_config_shows_each_value_its_source_and_its_bounds(optimizer: Command, optimizer_json: Any):
    assert optimizer_json("config", "drugs_com") == {
        "business": {"target_win_rate": 0.5},
        "technical": {"max_bid_cpm": 25.0},
        "static": {"floor_available": False},
        "sources": dict.fromkeys(["target_win_rate", "max_bid_cpm", "floor_available"], "default"),
    }
    lines = optimizer("config", "drugs_com").stdout.splitlines()
    line = next(line for line in lines if "target_win_rate" in line)
    assert "0.01 .. 0.99" in line and "default" in line


ERRORS = {
    ("show", "20990101_000000"): "run 20990101_000000 is not in opt_runs; check the run_id",
    ("outputs", "20990101_000000"): "run 20990101_000000 is not in opt_runs; check the run_id",
    ("config", "nobody"): "entity 'nobody' is not in opt_entities; known are drugs_com, drugs_hcp",
    ("runs", "nobody"): "entity 'nobody' is not in opt_entities; known are drugs_com, drugs_hcp",
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.items(), ids=[" ".join(arguments) for arguments in ERRORS])
@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["table", "json"])
def test_what_is_unknown_is_one_line_on_stderr_that_says_what_to_do(
    optimizer: Command, arguments: tuple[str, ...], message: str, flags: tuple[str, ...]
):
    assert_one_line(optimizer(*arguments, *flags), message)


COMMANDS = [("runs",), ("show", "x"), ("outputs", "x"), ("entities",), ("config", "x")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_without_a_control_plane_every_command_says_how_to_get_one(tmp_path: Path, arguments: tuple[str, ...]):
    result = run(*arguments, home=tmp_path)
    assert_one_line(result, "OPTIMIZER_CONTROL_PLANE_URL is not set")
    assert "--local" in result.stderr
    assert list(tmp_path.iterdir()) == []
    local = run(*arguments, "--local", home=tmp_path)
    assert_one_line(local, f"no control plane at {tmp_path / 'control_plane.db'}; run `make demo` first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_database_without_tables_is_one_line_on_stderr(url: str, arguments: tuple[str, ...]):
    assert_one_line(run(*arguments, url=url), "migrat")


def test_a_url_that_cannot_be_used_is_named_without_its_password(tmp_path: Path):
    result = run("runs", url="postgresql://me:geheim@localhost/x")
    assert_one_line(result, "the control plane cannot use postgresql; use one of sqlite")
    assert "geheim" not in result.output


def test_migrate_makes_a_control_plane_that_every_command_reads(url: str):
    first, again = run("migrate", url=url), run("migrate", url=url)
    assert first.stdout == again.stdout
    assert "the control plane is at revision" in first.stdout
    assert run("runs", "--json", url=url).stdout.strip() == "[]"


def test_migrate_takes_the_tables_back_to_an_earlier_revision_once_the_loss_is_confirmed(url: str):
    run("migrate", url=url)
    refused = run("migrate", "--to", "0004", url=url)
    assert refused.exit_code == 1 and f"from revision {head_revision()} back to 0004" in refused.stderr
    assert run("runs", url=url).exit_code == 0
    done = run("migrate", "--to", "0004", "--yes", url=url)
    assert done.stdout == "the control plane is at revision 0004; install the release that has this revision\n"
    assert_one_line(run("runs", url=url), "run `optimizer migrate`")
    for revision in ("0004", head_revision(), "nothing"):
        assert_one_line(run("migrate", "--to", revision, "--yes", url=url), "choose one of 0001, 0002, 0003")
    assert_one_line(run("migrate", "--to", "base", "--yes", url=url), "nothing would be left")
    assert f"is at revision {head_revision()}" in run("migrate", url=url).stdout


def assert_one_line(result: Any, message: str) -> None:
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
