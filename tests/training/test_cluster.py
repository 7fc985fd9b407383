"""Training on a Dask cluster of two worker processes, next to the same training in one process."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from core.worlds import logistic_cells
from distributed import Client, LocalCluster

from optimizer.core.config.settings import RunSettings
from optimizer.core.records import run_files
from optimizer.errors import ConfigError, UnavailableError
from optimizer.runs.learned import Learned
from optimizer.runs.pricing import price_run
from optimizer.training.cluster import train_on_cluster
from optimizer.training.fitting import fit_models
from optimizer.training.job import JOB_FILE, REPORT_FILE, TrainingJob, TrainingReport
from optimizer.training.process import run_training

pytestmark = pytest.mark.slow
FEATURES = ("adspace", "region")
MAX_MEAN_CHANGE, MAX_LOSS_CHANGE = 0.01, 0.001
WAIT_S = 60
MODULE = "optimizer.training.cluster"


def new_cluster(workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with new_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        yield client


Trained = tuple[pd.DataFrame, TrainingReport, Path]


@pytest.fixture(scope="module")
def train(new_job) -> Callable[[str | None], Trained]:
    """Return what trains the same cells on the scheduler's workers or, without one, in this process.

    It gives the segments with their bids, the report and the job's folder.
    """
    cells = logistic_cells(5, bids=30_000, slope=2.0)

    def run(scheduler: str | None) -> Trained:
        folder = new_job(cells, features=FEATURES)
        job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
        (folder / JOB_FILE).write_text(job.model_copy(update={"scheduler": scheduler}).model_dump_json())
        if scheduler is None:
            fit_models(folder, on_trial=lambda trial: None)
            report = TrainingReport.model_validate_json((folder / REPORT_FILE).read_text())
        else:
            report = run_training(folder)
        segments = pd.read_parquet(folder / run_files.SEGMENTS).assign(is_slope_identified=True)
        learned = Learned(segments, report.model_copy(update={"is_slope_naive": False}), list(FEATURES), None, None, 0)
        settings = RunSettings(anchor_feature="adspace", daily_step_limit=1.0, max_bid_cpm=1000.0)
        return price_run(learned, settings=settings, active=None, run_id="20260204_060000").bids, report, folder

    return run


@pytest.fixture(scope="module")
def on_two(train, cluster: LocalCluster) -> Trained:
    return train(cluster.scheduler_address)


def test_the_bids_of_two_workers_are_within_one_percent_of_those_of_one_process(train, on_two: Trained):
    (here, alone, _), (bids, report, _) = train(None), on_two
    assert here["segment_key"].equals(bids["segment_key"])
    change = (bids["suggested_bid_cpm"] / here["suggested_bid_cpm"] - 1).abs()
    assert here["suggested_bid_cpm"].std() > 0.5
    assert np.average(change, weights=here["recent_requests"]) < MAX_MEAN_CHANGE
    assert abs(report.wr_model_logloss - alone.wr_model_logloss) < MAX_LOSS_CHANGE
    assert report.largest_fall <= 1e-12


def test_the_model_of_a_cluster_has_no_address_in_its_text(on_two: Trained):
    text = (on_two[2] / run_files.WIN_MODEL).read_text()
    assert "[tree_learner: data]" not in text and "127.0.0.1" not in text
    assert lgb.Booster(model_str=text).num_trees() == on_two[1].wr_model_rounds


def new_rows(size: int = 2_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    data = np.column_stack([rng.integers(0, 12, size), rng.normal(size=size)]).astype(float)
    won = rng.random(size) < 1 / (1 + np.exp(-data[:, 1] - 0.2 * data[:, 0] + 1))
    return {"data": data, "label": won.astype(float), "weight": rng.integers(1, 5, size).astype(float)}


def train_rows(scheduler: str, *, rounds: int = 20) -> lgb.Booster:
    rows = new_rows()
    parameters = {"objective": "binary", "verbosity": -1, "monotone_constraints": [0, 1], "num_threads": 1, "seed": 1}
    data = lgb.Dataset(**rows, feature_name=["code", "bid"], categorical_feature=["code"], params=dict(parameters))
    return train_on_cluster(scheduler, data, rows=rows, parameters=parameters, rounds=rounds, later=None, patience=10)


def test_a_scheduler_that_does_not_answer_fails_the_training_for_another_try(train, unused_address: str):
    with pytest.raises(UnavailableError) as raised:
        train(unused_address)
    assert str(raised.value) == (
        f"the Dask scheduler {unused_address} (OPTIMIZER_DASK_SCHEDULER) did not answer within 10 s: start it with "
        "`dask scheduler`, or train without the cluster: `optimizer configure ENTITY training_cluster=false`"
    )


@pytest.fixture
def unused_address() -> Iterator[str]:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port, and it refuses
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


def test_an_address_that_cannot_be_one_is_refused_for_good():
    with pytest.raises(ConfigError, match=r"OPTIMIZER_DASK_SCHEDULER=ftp://dask:8786 is not the address of a Dask"):
        train_rows("ftp://dask:8786")


def test_a_cluster_without_workers_is_unavailable():
    with new_cluster(0) as empty, pytest.raises(UnavailableError, match=r"has no workers: start some with `dask work"):
        train_rows(empty.scheduler_address)


def test_another_lightgbm_on_a_worker_is_refused_with_both_versions(cluster, client, monkeypatch):
    real = lgb.__version__
    monkeypatch.setattr(lgb, "__version__", "4.0.0")
    with pytest.raises(ConfigError, match=rf"has LightGBM {real}, and the Airflow worker has 4\.0\.0: install"):
        train_rows(cluster.scheduler_address)


def test_a_worker_without_this_package_is_refused_with_the_extra_to_install(cluster, client: Client):
    client.run(exec, f"import sys; sys.modules[{MODULE!r}] = None")
    try:
        with pytest.raises(ConfigError, match=r"cannot load the training \(.*: install rtb-optimizer\[dask\] there"):
            train_rows(cluster.scheduler_address)
    finally:
        client.run(exec, f"import sys; del sys.modules[{MODULE!r}]")


def test_a_worker_that_dies_fails_the_training_for_another_try_which_succeeds(cluster: LocalCluster, client: Client):
    (victim, *_) = client.run(os.getpid).values()
    killer = threading.Thread(target=kill_in_training, args=(client, victim))
    killer.start()
    with pytest.raises(UnavailableError, match=r"a worker of it was lost during the training: .* retry the task"):
        train_rows(cluster.scheduler_address, rounds=1_000_000)
    killer.join(WAIT_S)
    client.wait_for_workers(2, timeout=WAIT_S)
    assert train_rows(cluster.scheduler_address).num_trees() == 20


def test_more_workers_give_the_same_model(cluster: LocalCluster, client: Client):
    rows = new_rows()["data"]
    two = train_rows(cluster.scheduler_address).predict(rows, raw_score=True)
    cluster.scale(3)
    client.wait_for_workers(3, timeout=WAIT_S)
    three = train_rows(cluster.scheduler_address).predict(rows, raw_score=True)
    assert np.ptp(two) > 1
    np.testing.assert_allclose(three, two, rtol=1e-9)


def test_a_scheduler_that_dies_fails_the_training_for_another_try(tmp_path: Path):
    address = tmp_path / "scheduler.json"
    known = ("--scheduler-file", str(address), "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
    dask = (sys.executable, "-m", "dask")
    with (
        running(*dask, "scheduler", "--port", "0", *known) as scheduler,
        Client(scheduler_file=str(address), timeout=WAIT_S, set_as_default=False) as client,
        running(*dask, "worker", "--no-nanny", "--nthreads", "1", *known) as worker,
    ):
        client.wait_for_workers(1, timeout=WAIT_S)
        # The worker would train on for as long as the client looks for the scheduler.
        killer = threading.Thread(target=kill_in_training, args=(client, scheduler.pid, worker.pid))
        killer.start()
        with pytest.raises(UnavailableError, match=r"the Dask scheduler tcp://.* was lost during the training"):
            train_rows(client.scheduler.address, rounds=1_000_000)
        killer.join(WAIT_S)


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen]:
    """Run the program while the block does."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def kill_in_training(client: Client, *victims: int) -> None:
    """Kill the processes, one after the other, once every worker trains."""
    deadline = time.monotonic() + WAIT_S
    while not all(calls and "_train_part" in str(calls) for calls in client.processing().values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
