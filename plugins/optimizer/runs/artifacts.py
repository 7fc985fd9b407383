"""The JSON files that one step of a run leaves for the next, each with the type of what it holds and a version."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from optimizer.artifacts.store import StoredObject
from optimizer.core.landscape.features import Selection
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.records import run_files
from optimizer.core.records.bid_figures import BidFigures
from optimizer.core.records.tracking import TrackingFigures
from optimizer.core.records.validation import Validation
from optimizer.core.records.variation import VariationRecord
from optimizer.core.records.window_totals import StagedLog
from optimizer.errors import ArtifactError
from optimizer.runs.staging import Staging
from optimizer.training.job import TrainingReport

T = TypeVar("T")

VERSION_KEY = "schema_version"
UNVERSIONED = 1
"""The version of a file that names none, as releases before schema versions wrote it."""


@dataclass(frozen=True, slots=True)
class JsonArtifact(Generic[T]):
    """A staged JSON file: an object with the fields of `T` and `schema_version`, or null where `T` may be None.

    version: raised when a field changes its meaning or goes away; a new field with a default needs no new version.
    is_sparse: whether fields that were never set are left out of the file.
    """

    name: str
    record: TypeAdapter[T]
    version: int = 1
    is_sparse: bool = False

    def read(self, stage: Staging) -> T:
        """Return the record.

        Raises:
            ArtifactError: the file is missing, changed, of a later version, or not such a record.
        """
        return self.parse(stage.get_json(self.name), where=f"{stage.prefix_uri}{self.name}")

    def parse(self, content: Any, *, where: str) -> T:
        """Return the record of the file's content; `where` names the file in errors."""
        found = content.get(VERSION_KEY, UNVERSIONED) if isinstance(content, dict) else UNVERSIONED
        if found > self.version:
            raise ArtifactError(
                f"{where} has {VERSION_KEY} {found}, and this code reads up to {self.version}; finish the run with the "
                "release that started it, or start a new run"
            )
        try:
            return self.record.validate_python(content)
        except ValidationError as error:
            raise ArtifactError(
                f"{where} cannot be read: {_problems(error)}; clear the task that writes it and those after it"
            ) from error

    def write(self, stage: Staging, record: T) -> StoredObject:
        """Stage the record."""
        content = self.record.dump_python(record, mode="json", exclude_unset=self.is_sparse)
        return stage.put_json(self.name, content if content is None else {VERSION_KEY: self.version, **content})


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


TOTALS = JsonArtifact(run_files.TOTALS, TypeAdapter(StagedLog), is_sparse=True)
VARIATION = JsonArtifact(run_files.VARIATION, TypeAdapter(VariationRecord))
SELECTION = JsonArtifact(run_files.SELECTION, TypeAdapter(Selection))
TRAINING = JsonArtifact(run_files.TRAINING, TypeAdapter(TrainingReport))
TRACKING = JsonArtifact(run_files.TRACKING, TypeAdapter(TrackingFigures), is_sparse=True)
BACKTEST: JsonArtifact[Backtest | None] = JsonArtifact(run_files.BACKTEST, TypeAdapter(Backtest | None))
BID_FIGURES = JsonArtifact(run_files.BID_FIGURES, TypeAdapter(BidFigures), is_sparse=True)
VALIDATION = JsonArtifact(run_files.VALIDATION, TypeAdapter(Validation))
