"""Analytics: figures over a project's runs, and the projects themselves."""

from datetime import datetime

from optimization_tracking.models.base import Answer


class Analytics(Answer):
    """Figures of a project's runs of one optimizer type and status, as of `refreshed_at`."""

    project_id: str
    optimizer_type: str
    status: str
    total_runs: int
    completed_runs: int
    failed_runs: int
    avg_final_score: float | None
    max_final_score: float | None
    min_final_score: float | None
    avg_improvement: float | None
    avg_duration_ms: float | None
    total_samples_evaluated: int
    total_tokens_used: int
    total_cost_usd: float
    first_run_at: datetime
    last_run_at: datetime
    refreshed_at: datetime


class Project(Answer):
    """A tenant: its runs are seen by its own keys only."""

    id: str
    name: str
    created_at: datetime
