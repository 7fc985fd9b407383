"""LightGBM's own Dask training: each worker of a cluster holds a part of the rows, and all grow every tree together."""

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask.array as da
import lightgbm as lgb
import numpy as np
from distributed import Client, KilledWorker, Lock
from distributed.comm.core import CommClosedError

from optimizer.errors import ConfigError, UnavailableError
from optimizer.names import DASK_SCHEDULER_VARIABLE

CONNECT_S = 10
"""A scheduler that does not answer for that many seconds is away."""

RESTART_S = 60
"""Workers that take longer to restart are left alone."""

TRAINING_LOCK = "rtb-optimizer-training"
"""Held while a model is trained: two on the same workers would wait for each other forever."""

OTHERWISE = "or train without the cluster: `optimizer configure ENTITY training_cluster=false`"

_SET_BY_DASK = ("machines", "local_listen_port", "num_machines", "time_out", "num_threads", "tree_learner")
"""The parameters that lightgbm.dask sets on each worker."""

_NETWORK_ERRORS = ("Socket", "Connecting to rank", "Binding port")
"""What LightGBM's errors begin with where its workers lose each other."""

Rows = Mapping[str, Any]
"""data, label and weight, as `lgb.Dataset` takes them."""


def train_on_cluster(
    scheduler: str,
    data: lgb.Dataset,
    *,
    rows: Rows,
    parameters: Mapping[str, object],
    rounds: int,
    later: Rows | None,
    patience: int,
) -> lgb.Booster:
    """Return the model of the rows, trained by all workers of the cluster, one training at a time.

    From two workers on, the model depends neither on their number nor on which of them has which rows. It differs a
    little from what `lgb.train` returns: docs/sizing.md, "A Dask cluster".

    Args:
        scheduler: its address, e.g. `tcp://dask-scheduler:8786`.
        data: LightGBM's dataset of the rows, not constructed yet; it chooses the bins.
        later: training stops once their loss has not fallen for `patience` rounds; None: it takes all rounds.
    Raises:
        UnavailableError: the scheduler does not answer, has no workers, or they did not finish.
        ConfigError: the address cannot be one, or a worker has another LightGBM, or not this package.
    """
    with _connected(scheduler) as client, Lock(TRAINING_LOCK):
        workers = sorted(client.ncores())
        if not workers:
            raise UnavailableError(
                f"the Dask scheduler {scheduler} has no workers: start some with `dask worker {scheduler}`, {OTHERWISE}"
            )
        _require_same_lightgbm(client, scheduler)
        with _naming_lost_workers(client, scheduler, workers):
            plan = _Plan(_bins_of(data), dict(parameters), rounds=rounds, patience=patience)
            parts = {name: _spread(client, values, workers=workers) for name, values in rows.items()}
            model = _ClusterModel(client=client, tree_learner="data")
            model.fit(
                parts["data"],
                parts["label"],
                sample_weight=parts["weight"],
                plan=plan,
                later=None if later is None else client.scatter([later], broadcast=True, hash=False)[0],
            )
        return _without_addresses(model.booster_)


def lightgbm_version() -> str:
    """Return the version of this process's LightGBM; workers are asked for theirs."""
    return lgb.__version__


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except ValueError as error:
        raise ConfigError(
            f"{DASK_SCHEDULER_VARIABLE}={scheduler} is not the address of a Dask scheduler ({error}); set it to one, "
            f"e.g. tcp://dask-scheduler:8786, {OTHERWISE}"
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"the Dask scheduler {scheduler} ({DASK_SCHEDULER_VARIABLE}) did not answer within {CONNECT_S} s: start it "
            f"with `dask scheduler`, {OTHERWISE}"
        ) from error
    with client:
        yield client


@contextmanager
def _naming_lost_workers(client: Client, scheduler: str, workers: list[str]) -> Iterator[None]:
    """Raise UnavailableError where a worker is lost, and restart the others: LightGBM would wait for it forever."""
    try:
        yield
    except (CancelledError, KilledWorker, CommClosedError, TimeoutError, lgb.basic.LightGBMError) as error:
        if isinstance(error, lgb.basic.LightGBMError) and not str(error).startswith(_NETWORK_ERRORS):
            raise
        with suppress(ValueError, OSError):  # workers without a nanny, or the scheduler itself was lost
            known = client.scheduler_info(n_workers=-1).get("workers", ())
            if left := [worker for worker in workers if worker in known]:
                client.restart_workers(left, timeout=RESTART_S, raise_for_error=False)
        raise UnavailableError(
            f"the Dask scheduler {scheduler} or a worker of it was lost during the training: look into the workers' "
            f"logs (memory that ran out is the usual cause) and retry the task, {OTHERWISE}"
        ) from error


def _require_same_lightgbm(client: Client, scheduler: str) -> None:
    own = lightgbm_version()
    for worker, found in sorted(client.run(lightgbm_version, on_error="return").items()):
        if isinstance(found, BaseException):
            raise ConfigError(
                f"the Dask worker {worker} of {scheduler} cannot load the training ({found}): install "
                f"rtb-optimizer[dask] there, of this release, {OTHERWISE}"
            ) from found
        if found != own:
            raise ConfigError(
                f"the Dask worker {worker} of {scheduler} has LightGBM {found}, and the Airflow worker has {own}: "
                f"install the same version on both, {OTHERWISE}"
            )


def _spread(client: Client, values: np.ndarray, *, workers: list[str]) -> da.Array:
    """Return an array of the values of which each worker holds a part, in their order."""
    return da.concatenate(
        [
            da.from_delayed(
                client.scatter(part, workers=[worker], hash=False), shape=part.shape, dtype=str(values.dtype)
            )
            for part, worker in zip(np.array_split(values, len(workers)), workers, strict=True)
        ]
    )


def _bins_of(data: lgb.Dataset) -> bytes:
    """Return a dataset of one row with the bins of the data, in LightGBM's binary format.

    Workers would choose the bins from their own rows; so they get those of all rows.
    """
    with TemporaryDirectory(prefix="optimizer-") as name:
        path = Path(name) / "bins"
        data.construct().subset([0]).save_binary(path)
        return path.read_bytes()


def _without_addresses(model: lgb.Booster) -> lgb.Booster:
    """Return the model without the workers' addresses, which LightGBM writes into the text of a model."""
    private = tuple(f"[{name}: " for name in _SET_BY_DASK)
    lines = model.model_to_string(num_iteration=-1).splitlines(keepends=True)
    own = lgb.Booster(model_str="".join(line for line in lines if not line.startswith(private)))
    own.best_iteration = model.best_iteration
    return own


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every worker trains: the bins of all rows, as `_bins_of` gives them, and LightGBM's parameters."""

    bins: bytes
    parameters: dict[str, Any]
    rounds: int
    patience: int


class _WorkerModel(lgb.LGBMRegressor):
    """What lightgbm.dask fits on each worker, with bins that are given."""

    def fit(  # type: ignore[override]
        self,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        *,
        plan: _Plan,
        later: Rows | None,
        **_: object,
    ) -> "_WorkerModel":
        own = self.get_params()
        with TemporaryDirectory(prefix="optimizer-") as name:
            path = Path(name) / "bins"
            path.write_bytes(plan.bins)
            known = lgb.Dataset(path, params=dict(plan.parameters)).construct()
        self._Booster = lgb.train(
            {**plan.parameters, **{name: own[name] for name in _SET_BY_DASK}},
            lgb.Dataset(X, y, weight=sample_weight, reference=known),
            num_boost_round=plan.rounds,
            valid_sets=[] if later is None else [lgb.Dataset(**later, reference=known)],
            callbacks=[] if later is None else [lgb.early_stopping(plan.patience, verbose=False)],
        )
        self.fitted_ = True
        return self


class _ClusterModel(lgb.DaskLGBMRegressor):
    """LightGBM's Dask model of such models."""

    def fit(  # type: ignore[override]
        self,
        X: da.Array,
        y: da.Array,
        sample_weight: da.Array,
        **options: Any,
    ) -> "_ClusterModel":
        with warnings.catch_warnings():
            # A default of scikit-learn's interface, which nobody set.
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored", UserWarning)
            self._lgb_dask_fit(model_factory=_WorkerModel, X=X, y=y, sample_weight=sample_weight, **options)
        return self
