"""Training jobs on logs of known truth (tests/core/worlds.py), and the process that a task starts for them.

Where the process itself is not in question, the job is trained in this one: to start another takes longer than most
jobs.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import psutil
import pytest
from core.worlds import confounded_cells, logistic_cells, true_level
from scipy.special import expit

import optimizer
from lab.stack.supervision import is_living
from optimizer.core.landscape.cells import prepare_cells
from optimizer.core.records import run_files
from optimizer.errors import DataError, PermanentError, UnavailableError
from optimizer.training.fitting import fit_models
from optimizer.training.job import (
    JOB_FILE,
    REPORT_FILE,
    TrainingJob,
    TrainingReport,
)
from optimizer.training.process import process_environment, run_training, started_training

TRUE_SLOPE = 2.0
WAIT_S = 60
FEATURES = ("adspace", "region")


def train_here(folder: Path) -> TrainingReport:
    fit_models(folder, on_trial=lambda trial: None)
    return TrainingReport.model_validate_json((folder / REPORT_FILE).read_text())


@pytest.fixture(scope="module")
def jittered() -> pd.DataFrame:
    return confounded_cells(5, bids=100_000, slope=TRUE_SLOPE)


@pytest.fixture(scope="module")
def trained(new_job, jittered: pd.DataFrame) -> tuple[Path, TrainingReport]:
    folder = new_job(jittered)
    return folder, run_training(folder)


def test_the_slope_of_a_jittered_log_is_near_the_truth_although_bids_followed_the_rivals(trained):
    _, report = trained
    assert not report.is_slope_naive
    assert abs(report.slope - TRUE_SLOPE) < 2.5 * report.slope_error
    assert report.slope_error < 0.15 * TRUE_SLOPE
    assert (report.half_life_days, report.half_life_gain) == (21.0, None)  # three weeks are too short to choose by


def test_a_log_without_jitter_is_flagged_naive(new_job):
    cells = logistic_cells(5, bids=20_000).assign(base_bid_cpm_sum=np.nan, base_price_bucket=np.nan)
    assert train_here(new_job(cells)).is_slope_naive


def test_linear_algebra_gets_the_threads_of_the_job_whatever_the_task_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    environment = process_environment(3)
    assert (environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == ("3", "3")


def test_a_started_process_waits_for_its_job_and_the_same_seed_gives_the_same_models_and_figures(
    new_job, jittered: pd.DataFrame, trained, tmp_path: Path
):
    folder, report = trained
    with started_training(tmp_path, threads=1) as train:
        shutil.copytree(new_job(jittered), tmp_path, dirs_exist_ok=True)
        assert train() == report
    assert (tmp_path / run_files.WIN_MODEL).read_text() == (folder / run_files.WIN_MODEL).read_text()
    assert pd.read_parquet(tmp_path / run_files.SEGMENTS).equals(pd.read_parquet(folder / run_files.SEGMENTS))


def test_several_threads_give_the_same_curves_as_one(new_job, jittered: pd.DataFrame, trained, monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # more threads than cores: one that waits leaves its core
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "4")
    folder, report = trained
    wide = new_job(jittered)
    job = TrainingJob.model_validate_json((wide / JOB_FILE).read_text()).model_copy(update={"threads": 4})
    (wide / JOB_FILE).write_text(job.model_dump_json())
    found = run_training(wide)
    assert found.slope == pytest.approx(report.slope, rel=1e-9)
    assert found.wr_model_logloss == pytest.approx(report.wr_model_logloss, rel=1e-9)
    tables = (pd.read_parquet(one / run_files.SEGMENTS) for one in (wide, folder))
    pd.testing.assert_frame_equal(*tables, rtol=1e-9)


def test_the_saved_model_never_falls_as_the_bid_rises(trained, jittered: pd.DataFrame):
    folder, report = trained
    cells = prepare_cells(jittered, FEATURES)
    grid = np.linspace(cells["log_bid"].min() - 1, cells["log_bid"].max() + 1, 400)
    codes = [(adspace, region) for adspace in range(-1, 8) for region in range(-1, 12)]
    rows = np.array([(*code, bid) for code in codes for bid in grid], dtype=float)
    model = lgb.Booster(model_file=folder / run_files.WIN_MODEL)
    scores = model.predict(rows, raw_score=True).reshape(len(codes), len(grid))
    assert np.ptp(scores) > 0.5
    assert np.diff(scores, axis=1).min() >= -1e-12
    assert report.largest_fall <= 1e-12


def test_every_segment_comes_back_once_with_its_counts_and_a_level(trained, jittered: pd.DataFrame):
    segments = pd.read_parquet(trained[0] / run_files.SEGMENTS)
    assert not segments.duplicated([*FEATURES]).any()
    assert segments[["bids", "wins"]].sum().tolist() == jittered[["bids", "wins"]].sum().tolist()
    assert np.isfinite(segments["level"]).all()


def test_the_predicted_win_rates_are_calibrated_on_days_that_were_not_trained_on(trained):
    assert trained[1].wr_model_ece < 0.03
    assert trained[1].train_until < trained[1].calibrate_until < trained[1].test_until


@pytest.mark.parametrize("days", [1, 2, 3, 4])
def test_a_log_of_a_few_days_is_trained_on_by_blocks_of_hours(new_job, days):
    cells = logistic_cells(7, bids=20_000, days=days)
    cells["block_hour"] = np.random.default_rng(1).integers(0, 6, len(cells)) * 4
    folder = new_job(cells)
    report = train_here(folder)
    assert report.wr_model_auc > 0.7 and report.wr_model_ece < 0.05
    assert report.train_until < report.calibrate_until < report.test_until
    assert np.isfinite(pd.read_parquet(folder / run_files.SEGMENTS)["level"]).all()


def test_a_log_that_no_blocks_divide_is_refused_with_what_to_do(new_job):
    with pytest.raises(DataError, match=r"bids in 1 blocks of time; at least 3 are needed .*raise lookback_days"):
        train_here(new_job(logistic_cells(7, bids=2_000, days=1)))


def test_no_clicks_give_no_click_model_and_no_error(trained):
    folder, report = trained
    assert not (folder / run_files.CLICK_MODEL).exists()
    assert report.ctr_model_auc is None
    assert (report.ctr_model_used, report.value_per_click) == (False, 0.0)


def test_a_log_with_clicks_values_them_and_judges_its_click_model(new_job):
    cells = logistic_cells(3, bids=30_000)
    folder = new_job(cells)
    report = train_here(folder)
    assert (folder / run_files.CLICK_MODEL).exists()
    assert report.value_per_click == pytest.approx(5.0)
    assert report.global_click_rate == cells["clicks"].sum() / cells["wins"].sum()
    assert 0 < report.ctr_model_auc < 1


def flat(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.assign(
        bid_cpm_sum=8.0 * cells["bids"], base_bid_cpm_sum=8.0 * cells["bids"], price_bucket=42, base_price_bucket=42
    )


def test_flat_bids_are_held(new_job):
    folder = new_job(flat(logistic_cells(3, bids=8_000)))
    report = train_here(folder)
    assert report.is_held and report.is_slope_naive
    segments = pd.read_parquet(folder / run_files.SEGMENTS)
    assert not segments["is_slope_identified"].any()
    assert segments["usual_bid_cpm"].to_numpy() == pytest.approx(8.0)


def lost(cells: pd.DataFrame, share: float, *, raised: float) -> pd.DataFrame:
    """The log with bids raised by a factor, and this share of the wins lost."""
    rng = np.random.default_rng(1)
    bid = raised * cells["bid_cpm_sum"]
    won = rng.random(len(cells)) < (1 - share) * expit(true_level(cells) + 3.0 * np.log(bid / 8))
    return cells.assign(bid_cpm_sum=bid, base_bid_cpm_sum=bid, wins=won.astype(int), clicks=0)


@pytest.mark.parametrize(("share", "lowest", "highest"), [(0.03, 0.0, 0.03), (0.15, 0.1, 0.15)])
def test_the_ceiling_is_the_usual_one_unless_high_bids_show_another(new_job, share, lowest, highest):
    report = train_here(new_job(lost(logistic_cells(5, bids=30_000), share, raised=1.6)))
    assert lowest - 1e-9 <= report.lost_share <= highest + 1e-9
    assert report.tails.ceiling == pytest.approx(1 - report.lost_share)


def test_a_segment_has_its_usual_bid_and_the_traffic_of_its_latest_days(trained, jittered: pd.DataFrame):
    segments = pd.read_parquet(trained[0] / run_files.SEGMENTS)
    one = segments.iloc[5]
    rows = jittered[(jittered["adspace"] == one["adspace"]) & (jittered["region"] == one["region"])]
    usual = np.exp(np.log(rows["base_bid_cpm_sum"]).mean())
    assert one["recent_bid_cpm"] == pytest.approx(usual, rel=0.002)
    fade = 0.5 ** ((jittered["day"].max() - rows["day"]).dt.days / 14)
    days = 0.5 ** (np.arange(jittered["day"].nunique()) / 14)
    assert one["recent_requests"] == pytest.approx(fade.sum() / days.sum())
    report = trained[1]
    assert [day["day"] for day in report.day_levels] == sorted({f"{day:%Y-%m-%d}" for day in jittered["day"]})
    assert sum(day["bids"] for day in report.day_levels) == len(jittered)


BROKEN = {
    "no wins": (lambda cells: cells.assign(wins=0, clicks=0), "so there are no wins to learn from"),
    "more wins than bids": (lambda cells: cells.assign(wins=cells["bids"] + 1), "check BIDS, VIEWS and CLICKS"),
}


@pytest.mark.parametrize(("spoil", "message"), BROKEN.values(), ids=BROKEN)
def test_data_that_cannot_be_learned_from_come_back_as_a_data_error_with_its_own_message(new_job, spoil, message: str):
    folder = new_job(spoil(logistic_cells(3, bids=8_000)))
    with pytest.raises(DataError, match=message) as raised:
        run_training(folder)
    assert "Traceback" not in str(raised.value)
    assert not (folder / REPORT_FILE).exists()


def test_a_killed_training_process_is_unavailable_so_that_the_task_is_retried(new_job, jittered: pd.DataFrame):
    folder = new_job(jittered)
    killer = threading.Thread(target=kill_training_of, args=(folder,))
    killer.start()
    with pytest.raises(UnavailableError, match="signal 9 ended the training process"):
        run_training(folder)
    killer.join(WAIT_S)
    assert not killer.is_alive()


def test_a_training_process_ends_when_the_process_that_waits_for_it_is_killed(new_job, jittered: pd.DataFrame):
    folder = new_job(jittered)
    code = (
        "import sys, pathlib; from optimizer.training import process; process.run_training(pathlib.Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)]) as waiting:
        training = child_of(waiting)
        waiting.kill()
    wait_for_end(training)
    assert not (folder / REPORT_FILE).exists()


def test_a_started_process_that_gets_no_job_ends_with_the_block(tmp_path: Path):
    with pytest.raises(ConnectionError), started_training(tmp_path, threads=1):
        (process,) = children_in(tmp_path)
        raise ConnectionError("the cells cannot be read")
    assert not is_living(process)


def test_a_started_process_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with (
        started_training(tmp_path, threads=1) as train,
        pytest.raises(PermanentError, match=r"failed with status 1: (?s:.)*encodings"),
    ):
        train()


def test_a_started_process_without_a_job_ends_when_the_process_that_started_it_is_killed(tmp_path: Path):
    code = (
        "import sys, pathlib, time; from optimizer.training.process import started_training\n"
        "with started_training(pathlib.Path(sys.argv[1]), threads=1): time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as starting:
        training = child_of(starting)
        starting.kill()
    wait_for_end(training)


def wait_for_end(process: psutil.Process) -> None:
    deadline = time.monotonic() + WAIT_S
    while is_living(process):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_in(folder: Path) -> list[psutil.Process]:
    """Return the children of this process that train in the folder."""
    return [child for child in psutil.Process().children() if str(folder) in child.cmdline()]


def child_of(parent: subprocess.Popen) -> psutil.Process:
    deadline = time.monotonic() + 20
    while not (children := psutil.Process(parent.pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return children[0]


def kill_training_of(folder: Path) -> None:
    """Kill the child of this process that trains in the folder."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in children_in(folder):
            child.send_signal(signal.SIGKILL)
            return
        time.sleep(0.02)


def test_the_training_finds_the_package_by_pythonpath_alone(tmp_path: Path):
    """Airflow's workers have the plugins folder, and not always an installed package."""
    source = Path(optimizer.__file__).resolve().parents[1]
    environment = {"PYTHONPATH": str(source), "PATH": os.environ["PATH"]}
    code = "from optimizer.training import libraries, fitting; print(fitting.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(source / "optimizer" / "training" / "fitting.py")
