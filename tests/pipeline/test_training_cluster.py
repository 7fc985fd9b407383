"""An entity that is to be trained on a Dask cluster, on a worker that cannot reach one."""

import sys

import pytest
from pipeline.driver import Pipeline

from optimizer.errors import ConfigError
from optimizer.steps.train_models import train_models

SCHEDULER = "tcp://127.0.0.1:8786"


@pytest.fixture
def wanting(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose entity wants the cluster."""
    pipeline.set_value("training_cluster", "true")
    return pipeline


def test_a_worker_without_a_schedulers_address_says_which_variable_is_missing(wanting: Pipeline):
    with pytest.raises(ConfigError) as raised:
        wanting.step(wanting.open(), "train_models")
    assert str(raised.value) == (
        "entity drugs_hcp: training_cluster=true needs OPTIMIZER_DASK_SCHEDULER, which is not set on this worker: set "
        "it to the address of a Dask scheduler, or `optimizer configure drugs_hcp training_cluster=false`"
    )
    assert wanting.row_of("first").error_message == f"train_models: {raised.value}"


def test_a_worker_without_the_extra_names_the_libraries_and_the_extra(wanting: Pipeline, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"needs distributed, which this .*: install rtb-optimizer\[airflow,dask\]"):
        train_models(wanting.open(), systems=wanting.systems, scheduler=SCHEDULER)
