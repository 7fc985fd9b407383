from pathlib import Path

import numpy as np
import pytest

from lab.evaluation.__main__ import run_jobs
from lab.evaluation.goals import TrialFigures
from lab.evaluation.saved import SavedTrials
from lab.evaluation.trials import Job
from optimizer.errors import ConfigError, DataError

FIRST, SECOND = Job("steady", 1, 20_000), Job("dirt", 2, 20_000)
SMALL, EMPTY = Job("flat bids", 1, 300), Job("flat bids", 1, 2)


def figures(job: Job, **values: float) -> list[TrialFigures]:
    return [TrialFigures(job.scenario, "optimizer", job.seed, **values)]


@pytest.fixture
def saved(tmp_path: Path) -> SavedTrials:
    return SavedTrials(tmp_path / "trials.jsonl")


def test_what_was_saved_comes_back_by_its_job(saved):
    assert saved.read() == {}
    saved.append(FIRST, figures(FIRST, gap=0.1 + 0.2))
    saved.append(SECOND, figures(SECOND, bid_change=0.01))
    found = saved.read()
    assert list(found) == [FIRST, SECOND]
    assert found[FIRST][0].gap == 0.1 + 0.2 and np.isnan(found[FIRST][0].bid_change)


def test_a_line_that_was_cut_is_taken_off_and_its_job_runs_again(saved):
    saved.append(FIRST, figures(FIRST, gap=0.01))
    kept = saved.path.read_bytes()
    for cut in (b'{"job":{"scenario":"di', b"{"):
        saved.path.write_bytes(kept + cut)
        assert list(saved.read()) == [FIRST]
        assert saved.path.read_bytes() == kept
    saved.append(SECOND, figures(SECOND, bid_change=0.0))
    assert list(saved.read()) == [FIRST, SECOND]


def test_a_file_that_holds_nothing_but_a_cut_line_is_emptied(saved):
    saved.path.write_bytes(b'{"job":')
    assert saved.read() == {} and saved.path.read_bytes() == b""


def test_a_file_of_something_else_is_refused_with_the_line(saved):
    saved.append(FIRST, figures(FIRST))
    with saved.path.open("a") as file:
        file.write('{"scenario": "steady"}\n')
    with pytest.raises(ConfigError, match="line 2 is not a job of this benchmark"):
        saved.read()


def test_jobs_are_saved_as_they_end_and_not_run_again(saved):
    saved.append(FIRST, figures(FIRST, gap=0.123))
    with pytest.raises(DataError, match="flat bids, seed 1: "):
        run_jobs([FIRST, SMALL, EMPTY], processes=1, saved=saved)
    assert list(saved.read()) == [FIRST, SMALL]
    before = saved.path.read_bytes()
    own, held = run_jobs([FIRST, SMALL], processes=1, saved=saved)
    assert own.gap == 0.123 and held.is_refused == 1.0
    assert saved.path.read_bytes() == before
