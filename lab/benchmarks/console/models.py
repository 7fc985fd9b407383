"""Ten clients in their states, with runs, deployments and measured days: every other client of a fleet is like one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Table

from optimizer.bidder.reasons import UNREADABLE, Reason
from optimizer.control_plane import tables
from optimizer.control_plane.registry import CONTROL_TRIGGER
from optimizer.core.live.readiness import Word

Row = dict[str, Any]

STATES: tuple[Word, ...] = (*("on target",) * 5, "learning", "limited by cap", "off target", "stale", "failed")
"""The states of ten clients in a row."""

FAILED_EVERY = 10
OLD_DAYS = 20
COUNTED_DAYS = 7
CONTROL_PCT = 5
OUTCOMES = (UNREADABLE, Reason.SEGMENT, Reason.FALLBACK, Reason.CAP, Reason.BELOW_FLOOR, Reason.NOT_SERVED)


@dataclass(frozen=True, slots=True)
class Model:
    """A client that others are like.

    snapshot: the configuration of its runs. runs, days: how many it has, until the morning `now`.
    """

    entity_id: int
    code: str
    state: Word
    version_id: int
    snapshot: Mapping[str, Any]
    runs: int
    days: int
    now: datetime

    def run_id(self, number: int) -> str:
        """Return the id of a run; that of the first, whose bids are the control's, has number 0."""
        return f"{self.code}_{number:05}"

    def created(self, number: int) -> datetime:
        """Return when a run began: they are spread over the days, and the last one is of this morning."""
        return self.now - timedelta(days=self.days * (self.runs - 1 - number) / self.runs, hours=1)

    def rows(self) -> Iterator[tuple[Table, Iterator[Row]]]:
        """Yield each table with the client's rows, in an order that foreign keys allow."""
        yield tables.runs, map(self._run, range(self.runs))
        yield tables.deployments, self._deployments()
        yield tables.live_daily, self._days()
        yield tables.live_verdicts, self._verdicts()
        yield tables.live_savings, map(self._saving, ("yesterday", "month", "since_start"))
        yield tables.alerts, self._alerts()
        yield tables.audit, map(self._audit, range(self.runs))
        yield tables.bidder_counts, self._counts()

    @property
    def _live(self) -> int:
        return self.runs - 1 - (self.state == "failed" and self.runs > 1)

    def _run(self, number: int) -> Row:
        run_id, created = self.run_id(number), self.created(number)
        end = created - timedelta(days=OLD_DAYS) if self.state == "stale" else created
        is_newest, is_usual_failure = number == self.runs - 1, number % FAILED_EVERY == FAILED_EVERY // 2
        is_failed = self.state == "failed" if is_newest else is_usual_failure
        return {
            "run_id": run_id,
            "run_code": run_id,
            "entity_id": self.entity_id,
            "version_id": self.version_id,
            "dag_id": f"optimize__{self.code}",
            "dag_run_id": run_id,
            "status": "failed" if is_failed else "completed",
            "triggered_by": "schedule",
            "trigger_type": CONTROL_TRIGGER if number == 0 else "scheduled",
            "config_snapshot": self.snapshot,
            "data_start_dt": end - timedelta(days=60),
            "data_end_dt": end,
            "validation_status": None if is_failed else "passed",
            "error_message": "extract: the warehouse denied the login" if is_failed else None,
            "created_at": created,
            "completed_at": created,
            "s3_output_path": f"s3://fleet/{self.code}/runs/{run_id}/",
            "readiness_figures": None if is_failed else self._figures(),
        }

    def _figures(self) -> Row:
        is_limited = self.state == "limited by cap"
        return {
            "target": {
                "target_win_rate": 0.3,
                "expected_win_rate": 0.2 if is_limited else 0.3,
                "reachable_win_rate": 0.2 if is_limited else 0.4,
                "share_cap": 0.6 if is_limited else 0.0,
            },
            "identification": {"is_learning": float(self.state == "learning"), "learning_days_left": 4.0},
        }

    def _deployments(self) -> Iterator[Row]:
        """A split a run: the new run and the control."""
        for number in range(1, self._live + 1):
            is_last = number == self._live
            shared = {
                "entity_id": self.entity_id,
                "is_active": is_last,
                "deployed_by": "airflow:optimize",
                "deployed_at": self.created(number),
                "deactivated_at": None if is_last else self.created(number + 1),
            }
            yield shared | {"run_id": self.run_id(number), "traffic_pct": 100 - CONTROL_PCT, "source": "scheduled"}
            yield shared | {"run_id": self.run_id(0), "traffic_pct": CONTROL_PCT, "source": "control"}

    def _days(self) -> Iterator[Row]:
        for back in range(1, self.days + 1):
            number = max(min(1, self._live), self._live - back * self.runs // self.days)
            yield self._day(number, back, pct=100 - CONTROL_PCT)
            if number != 0:
                yield self._day(0, back, pct=CONTROL_PCT)

    def _day(self, number: int, back: int, *, pct: int) -> Row:
        return {
            "entity_id": self.entity_id,
            "run_id": self.run_id(number),
            "day": self._date(back),
            "traffic_pct": float(pct),
            "bids": 1_000 * pct,
            "wins": 300 * pct + back % 7,
            "clicks": pct // 2,
            "spend": 1.5 * pct,
            "view_revenue": 3.0 * pct,
            "click_revenue": 0.0,
            "forecast_win_rate": 0.3,
            "forecast_cpm": 5.0,
        }

    def _verdicts(self) -> Iterator[Row]:
        for back in range(self.days):
            for figure in ("win_rate", "cpm", "ctr", "margin"):
                is_below = self.state == "off target" and figure == "win_rate"
                yield {
                    "entity_id": self.entity_id,
                    "run_id": self.run_id(self._live),
                    "compared_with": "forecast",
                    "figure": figure,
                    "verdict": "below target" if is_below else "on target",
                    "reason": "beyond the tolerance" if is_below else "within the tolerance",
                    "days": 5,
                    "live": 0.3,
                    "measured_on": self._date(back),
                }

    def _saving(self, period: str) -> Row:
        return {
            "entity_id": self.entity_id,
            "run_id": self.run_id(0),
            "period": period,
            "first_day": self._date(1),
            "last_day": self._date(1),
            "days": 1,
            "saved": 12.0,
        }

    def _alerts(self) -> Iterator[Row]:
        """One that is open where a figure is off target, and those of the past."""
        for number in range(1, self._live + 1):
            is_open = number == self._live
            if number % FAILED_EVERY == 0 or (is_open and self.state == "off target"):
                yield {
                    "entity_id": self.entity_id,
                    "kind": "below_forecast",
                    "subject": self.run_id(number),
                    "message": "the live win rate is below its forecast",
                    "opened_at": self.created(number),
                    "last_seen_at": self.created(number),
                    "closed_at": None if is_open else self.now,
                }

    def _audit(self, number: int) -> Row:
        return {
            "occurred_at": self.created(number),
            "actor": "airflow:optimize",
            "is_person": False,
            "action": "promote",
            "entity_id": self.entity_id,
            "run_id": self.run_id(number),
            "after_value": {"split": {self.run_id(number): 100 - CONTROL_PCT, self.run_id(0): CONTROL_PCT}},
        }

    def _counts(self) -> Iterator[Row]:
        for back in range(1, 24 * COUNTED_DAYS + 1):
            for outcome in OUTCOMES:
                yield {
                    "entity_id": self.entity_id,
                    "bidder": "bidder-1",
                    "counted_hour": self.now - timedelta(hours=back),
                    "run_id": "" if outcome in (UNREADABLE, Reason.NOT_SERVED) else self.run_id(self.runs - 1),
                    "outcome": str(outcome),
                    "impressions": 1_000,
                }

    def _date(self, back: int) -> date:
        return (self.now - timedelta(days=back)).date()
