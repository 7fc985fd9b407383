"""Trials kept in a file as they end: a run that was interrupted goes on where it stopped."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.evaluation.goals import TrialFigures
from lab.evaluation.trials import Job
from optimizer.errors import ConfigError


class SavedJob(BaseModel):
    """One line of the file: a job and the figures of its trials."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    job: Job
    trials: list[TrialFigures]


@dataclass(frozen=True, slots=True)
class SavedTrials:
    """A file of JSON lines, one a job, in the order in which they ended."""

    path: Path

    def read(self) -> dict[Job, list[TrialFigures]]:
        """Return the figures of every job in the file; empty if the file does not exist.

        A last line without its end was cut by an interruption: it is taken off the file, and its job counts as not run.

        Raises:
            ConfigError: a line is not a job of this benchmark.
        """
        if not self.path.exists():
            return {}
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        if (length := len(whole) + 1 if whole else 0) < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(length)
        found = [self._parse(line, number) for number, line in enumerate(whole.splitlines(), start=1)]
        return {saved.job: saved.trials for saved in found}

    def append(self, job: Job, trials: list[TrialFigures]) -> None:
        """Add the job's figures to the end of the file."""
        with self.path.open("a") as file:
            file.write(SavedJob(job=job, trials=trials).model_dump_json() + "\n")

    def _parse(self, line: bytes, number: int) -> SavedJob:
        try:
            return SavedJob.model_validate_json(line)
        except ValidationError as error:
            raise ConfigError(
                f"{self.path}: line {number} is not a job of this benchmark "
                f"({error.errors()[0]['msg']}); give --save another file, or remove this one"
            ) from error
