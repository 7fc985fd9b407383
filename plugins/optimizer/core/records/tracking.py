"""tracking.json: what became of the entries that a run sent to the tracking service."""

from pydantic import BaseModel, ConfigDict


class TrackingFigures(BaseModel):
    """Section `tracking` of the run's metrics; without a service nothing is set.

    is_complete: 1: the service has all entries.
    sent, waiting, dropped, refused: number of entries by what became of them.
    """

    model_config = ConfigDict(frozen=True)

    is_complete: float | None = None
    sent: float | None = None
    waiting: float | None = None
    dropped: float | None = None
    refused: float | None = None

    def figures(self) -> dict[str, float | None]:
        """Return the figures that are known."""
        return self.model_dump(exclude_unset=True)
