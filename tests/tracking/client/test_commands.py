"""The commands that read, watch and export, on the real service."""

import csv
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from optimization_tracking.client import track_run
from optimization_tracking.commands.main import app


@pytest.fixture
def command(settings, monkeypatch):
    """Return what runs a command of the session's service and gives its exit status, output and errors."""
    monkeypatch.setenv("OPTIMIZER_TRACKING_API_URL", settings.base_url)
    monkeypatch.setenv("OPTIMIZER_TRACKING_KEY", settings.key)
    monkeypatch.setenv("OPTIMIZER_TRACKING_QUEUE", str(settings.queue_folder))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def pair(client):
    """Return two completed runs of a tag of their own: the second is better on average, and worse on one sample."""
    tag = f"pair-{uuid.uuid4()}"
    runs = []
    for depth, scores in ((4, [0.2, 0.9]), (8, [0.8, 0.7])):
        name = f"depth {depth} {tag}"
        run = client.create_run(name, optimizer_type="custom", config={"depth": depth, "seed": 1}, tags=[tag])
        steps = [{"iteration": step, "score": depth * step / 16, "params": {"rate": step / 2}} for step in (1, 2)]
        client.add_iterations(run.id, steps)
        samples = [{"iteration": 2, "sample_index": i, "score": s, "input": f"s{i}"} for i, s in enumerate(scores)]
        client.add_samples(run.id, samples)
        client.update_run(run.id, status="running", initial_score=0.25)
        runs.append(client.update_run(run.id, status="completed", final_score=depth / 8))
    return tag, *runs


def test_runs_are_listed_as_a_table_and_as_json(command, pair):
    tag, first, second = pair
    table = command("list", "--tag", tag)
    assert table.exit_code == 0, table.output
    assert table.output.startswith("2 of 2 runs")
    assert str(first.id) in table.output and "+300.0%" in table.output
    listed = json.loads(command("list", "--tag", tag, "--order-by", "final_score", "--ascending", "--json").output)
    assert [run["id"] for run in listed] == [str(first.id), str(second.id)]
    filtered = command("list", "--tag", tag, "--config", '{"depth": 8}', "--status", "completed", "--json")
    assert [run["config"]["depth"] for run in json.loads(filtered.output)] == [8]


def test_the_best_come_first(command, pair):
    tag, _, second = pair
    assert [run["finalScore"] for run in json.loads(command("top", "--tag", tag, "--json").output)] == [1.0, 0.5]
    assert json.loads(command("top", "--tag", tag, "--limit", 1, "--json").output)[0]["id"] == str(second.id)


def test_a_run_is_shown_by_its_id_or_its_name_with_its_iterations(command, pair):
    _, first, _ = pair
    shown = command("show", first.run_name)
    assert "Iterations, the first 20 of 2" in shown.output and "rate=0.5" in shown.output
    by_id = json.loads(command("show", first.id, "--json").output)
    assert [step["isBest"] for step in by_id["iterationList"]] == [False, True]


def test_compared_runs_show_what_differs_alone_and_the_samples_that_got_worse(command, pair):
    _, first, second = pair
    compared = json.loads(command("compare", first.id, second.id, "--samples", "--json").output)
    assert compared["different"]["config.depth"] == [4, 8]
    assert "config.seed" not in compared["different"] and "status" not in compared["different"]
    assert compared["worseSamples"] == [{"sample": 1, "before": 0.9, "after": 0.7, "input": "s1"}]
    table = command("compare", first.id, second.id, "--samples").output
    assert "config.depth" in table and "Samples got worse: 1" in table


def test_a_run_is_watched_until_it_ends(command, settings):
    name = f"watched {uuid.uuid4()}"
    run = track_run(name, optimizer_type="custom", settings=settings, metadata={"plannedIterations": 3}, flush_s=30)
    run.log_iteration(0, score=1)
    assert run.flush()
    words = [sys.executable, "-m", "optimization_tracking", "watch", name, "--every", "0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watching:
        first = watching.stdout.readline()
        run.log_iteration(1, score=2)
        run.end("failed", error_message="no luck")
        assert run.close().is_complete
        *_, last = watching.stdout
    assert first == f"{name}: running, 1 of 3 iterations, best score 1.00\n"
    assert last == f"{name}: failed, 2 of 3 iterations, best score 2.00: no luck\n"
    assert watching.returncode == 1
    assert json.loads(command("watch", name, "--json").output)["bestScore"] == 2


def test_csv_and_parquet_hold_every_row_with_its_types(command, pair, tmp_path):
    tag, first, second = pair
    done = command("export", tmp_path / "runs.parquet", "--tag", tag)
    assert done.output.strip() == f"2 runs in {tmp_path / 'runs.parquet'}"
    rows = parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert {row["id"] for row in rows} == {str(first.id), str(second.id)}
    assert sorted(json.loads(row["config"])["depth"] for row in rows) == [4, 8]
    assert {row["createdAt"] for row in rows} == {first.created_at, second.created_at}
    command("export", tmp_path / "steps.csv", "--what", "iterations", "--run", first.id)
    with (tmp_path / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [(step["iteration"], step["score"], step["params"]) for step in steps] == [
        ("1", "0.25", '{"rate": 0.5}'),
        ("2", "0.5", '{"rate": 1.0}'),
    ]
    command("export", tmp_path / "samples.parquet", "--what", "samples", "--tag", tag)
    samples = parquet.read_table(tmp_path / "samples.parquet").to_pylist()
    assert [sample["score"] for sample in samples if sample["runId"] == str(second.id)] == [0.8, 0.7]
    assert samples[0]["input"] == '"s0"'


def test_an_export_of_long_rows_is_written_in_parts_that_fit_into_memory(command, client, tmp_path):
    tag = str(uuid.uuid4())
    for _ in range(10):
        client.create_run("long", optimizer_type="custom", tags=[tag], config={"text": "a" * 3_000_000})
    command("export", tmp_path / "runs.parquet", "--tag", tag)
    parts = parquet.ParquetFile(tmp_path / "runs.parquet").metadata
    assert parts.num_rows == 10
    assert max(parts.row_group(place).num_rows for place in range(parts.num_row_groups)) < 10


def test_an_export_without_rows_has_the_columns(command, tmp_path):
    assert command("export", tmp_path / "none.csv", "--tag", "nobody-has-it").output.startswith("0 runs")
    assert (tmp_path / "none.csv").read_text().startswith('"id","projectId","runName"')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "runs.xlsx"], "runs.xlsx: the name must end in .csv or .parquet"),
        (["export", "nowhere/runs.csv"], "nowhere/runs.csv cannot be written"),
        (["export", "runs.csv", "--run", "x", "--tag", "y", "--status", "failed"], "--run: leave out --status, --tag"),
        (["export", "runs.csv", "--run", "x", "--type", "rtb", "--config", "{}"], "--run: leave out --type, --config"),
        (["export", "runs.csv", "--run", "x", "--search", "y", "--metadata", "{}"], "leave out --search, --metadata"),
        (["show", "nobody"], "no run is called 'nobody'"),
        (["show", "00000000-0000-0000-0000-000000000000"], "404"),
        (["list", "--status", "done"], "status.0: Input should be 'pending'"),
        (["list", "--config", "{"], "config: Value error, is not JSON"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line_and_leaves_no_file(command, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = command(*words)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: ") and message in refused.stderr and "Traceback" not in refused.output
    assert list(tmp_path.iterdir()) == []


def test_what_an_ended_program_left_is_sent_by_a_command(command, away):
    settings, back = away
    run = track_run("left", optimizer_type="custom", settings=settings, flush_s=0)
    run.log_iteration(0)
    run.close()
    with back():
        environment = {"OPTIMIZER_TRACKING_API_URL": settings.base_url}
        sent = CliRunner().invoke(app, ["resume"], env=environment)
    assert "sent 1 create, 1 iteration" in sent.output
    assert sent.output.splitlines()[-1] == f"1 queues of ended programs in {settings.queue_folder}"


def test_a_name_is_printed_as_it_is_without_markup_and_escape_codes(command, client):
    tag = f"odd-{uuid.uuid4()}"
    name = f"[/] [red]x[/red] \x1b[31m \u202egnp a\u00adb\U000e0041 {tag}"
    run = client.create_run(name, optimizer_type="custom", tags=[tag], config={"[/bold]": "[/]"})
    client.update_run(run.id, status="completed", error_message="\x1b]0;title\x07")
    for words in (["list", "--tag", tag], ["show", name], ["compare", run.id, run.id], ["watch", run.id]):
        done = command(*words)
        assert done.exit_code == 0, done.output
        assert not set("\x1b\u202e\u00ad\U000e0041") & set(done.output)
    assert "[/] [red]x[/red] \\u001b[31m \\u202egnp" in command("show", name).output.replace("\n", " ")


def test_a_name_with_ends_of_lines_stays_in_the_line_of_watch_and_of_errors(command, client):
    run = client.create_run("a\nb\rc: completed", optimizer_type="custom", status="failed")
    assert command("watch", run.id).output.splitlines()[0].startswith("a\\u000ab\\u000dc: completed: failed")
    assert "\x1b" not in command("export", "a\x1b[31m.txt").stderr
    odd = client.create_run("\u202eabc", optimizer_type="custom", status="completed")
    line = command("watch", odd.id, "--json").output
    assert "\u202e" not in line and json.loads(line)["runName"] == "\u202eabc"


def test_texts_that_a_spreadsheet_would_run_are_quoted_in_csv_unless_raw(command, client, tmp_path):
    tag = f"formula-{uuid.uuid4()}"
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\nx", " =1", "\ufeff=1", "\uff1d1"]
    names += ["\u202e=1", "\u200e=1", "\u2066=1", "\u00ad=1", "\u061c=1", "\ufe66=1", "\u22121", "plain"]
    for name in names:
        client.create_run(name, optimizer_type="custom", tags=[tag], initial_score=-1.5, evaluation_results=-2)
    exported = {}
    for option in ((), ("--raw",)):
        file = tmp_path / "runs.csv"
        assert command("export", file, "--tag", tag, *option).exit_code == 0
        with file.open(newline="") as rows:
            exported[option] = list(csv.DictReader(rows))
    assert {row["runName"] for row in exported[()]} == {f"'{name}" for name in names[:-1]} | {"plain"}
    assert {row["runName"] for row in exported["--raw",]} == set(names)
    assert {(row["initialScore"], row["evaluationResults"]) for row in exported[()]} == {("-1.5", "-2")}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_whose_name_is_not_utf_8_is_written(command, tmp_path, suffix):
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xffb" + suffix.encode()))
    done = command("export", file, "--tag", "of no run")
    assert (done.exit_code, file.exists()) == (0, True), done.output
    assert done.output.strip().endswith(f"a\\udcffb{suffix}")


def formulas_of(file: Path, separator: str) -> list[str]:
    """Return the cells that a spreadsheet runs, as it finds them with a separator of its own."""
    with file.open(newline="") as lines:
        cells = [cell.strip(" \ufeff") for row in csv.reader(lines, delimiter=separator) for cell in row]
    signed = [cell.partition('"')[0] for cell in cells if cell.startswith(("+", "-"))]
    active = [cell for cell in signed if set("(!") & set(cell) or cell.endswith("&")]
    return [cell for cell in cells if cell.startswith(("=", "@", "\uff1d"))] + active


INSIDE = [
    *(
        "a;=1+1",
        "a; =1+1",
        "a\t=1+1",
        "a|=1+1",
        "a\n=1+1",
        "a\r\n=1+1",
        'a;"=1+1',
        "a;\ufeff=1",
        "a;\uff1d1",
        "a;@SUM(A1)",
    ),
    *("a;-cmd|'/C calc'!A0", "a;+HYPERLINK(A1)", "a;- 1+f(A1)", "a;-1&", "=1;=2", "a;;=1", "a; b;=1"),
]
ORDINARY = [
    *("loss; lower is better", "1;-2;+3.5", "a; - b", "a | - | b", "x=1;y=2", "a@b.example;c@d.example", "a-b (c)"),
    *("Traceback:\n  File x (y)\n    f(a)\n+ 1\n- 2", "a - b(c); d", "; (a)", "a;\tb", "ok; 100 % + more"),
]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_texts_inside_which_a_spreadsheet_finds_a_formula_are_harmless_in_csv_unless_raw(
    command, client, tmp_path, separator
):
    tag, file = f"inside-{uuid.uuid4()}", tmp_path / "runs.csv"
    for text in (*INSIDE, *ORDINARY):
        fields = {"config": {text: [text, -1, {"b": text}]}, "error_message": text, "final_program": text}
        client.create_run(text, optimizer_type="custom", tags=[tag, text], **fields)
    exported = {}
    for option in ((), ("--raw",)):
        assert command("export", file, "--tag", tag, *option).exit_code == 0
        exported[option] = formulas_of(file, separator)
        with file.open(newline="") as rows:
            found = list(csv.DictReader(rows))
        assert {next(iter(json.loads(row["config"]))) for row in found} == {*INSIDE, *ORDINARY}
        assert {row["runName"] for row in found} >= set(ORDINARY)
    assert exported[()] == [] and exported["--raw",]


@pytest.fixture(scope="module")
def arms(tracking):
    """Return a tag of runs of two arms over the same eight days: b is better by about 0.1."""
    tag, shop = f"arms-{uuid.uuid4().hex[:8]}", tracking.client("shop")
    for arm, gain in (("a", 0.0), ("b", 0.1)):
        for day in range(1, 9):
            shop.create_run(
                runName=f"{tag} {arm} {day}",
                tags=[tag],
                status="completed",
                metric="held-out accuracy",
                startTime=f"2026-01-0{day}T04:00:00Z",
                finalScore=0.5 + day / 100 + gain * (1 + day / 1000),
                config={"arm": arm, "depth": 6},
            )
    return tag


def test_groups_are_printed_with_their_interval_and_the_paired_test(command, arms):
    words = ("groups", "config.arm", "--tag", arms, "--pair-by", "day", "--baseline", "a")
    printed = command(*words)
    assert printed.exit_code == 0, printed.output
    assert "2 of 2 groups by config.arm: held-out accuracy, highest is best" in printed.output
    assert "than a" in printed.output and "better" in printed.output and "Paired by day" in printed.output
    found = json.loads(command(*words, "--json").output)
    assert [(group["key"], group["n"]) for group in found["groups"]] == [("b", 8), ("a", 8)]
    assert found["groups"][0]["againstBaseline"]["verdict"] == "better"
    assert "Name what pairs the runs" in command("groups", "config.arm", "--tag", arms).output


def test_a_trend_is_printed_with_what_was_expected(command, arms):
    words = ("trend", "--tag", arms, "--config", '{"arm": "a"}')
    printed = command(*words)
    assert printed.exit_code == 0, printed.output
    assert "The newest 8 runs: held-out accuracy, highest is best" in printed.output
    assert "cannot be judged" in printed.output and "Expected of the next run: " in printed.output
    found = json.loads(command(*words, "--json").output)
    assert [point["value"] for point in found["points"]] == [pytest.approx(0.5 + day / 100) for day in range(1, 9)]


def test_many_runs_are_compared_by_what_differs_below_each_other(command, arms, pair):
    printed = command("compare", "--tag", arms)
    assert printed.exit_code == 0, printed.output
    assert "What is different in 16 runs" in printed.output and "config.arm" in printed.output
    assert "config.depth" not in printed.output and "held-out accuracy" not in printed.output
    found = json.loads(command("compare", "--tag", arms, "--json").output)
    assert (len(found["runs"]), found["different"]["config.arm"]) == (16, ["b"] * 8 + ["a"] * 8)
    both = command("compare", pair[1].id, "--tag", arms)
    assert both.exit_code != 0 and "name runs, or choose them by filters; not both" in both.output
