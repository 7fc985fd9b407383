"""The page of the metrics: the bidder's for Prometheus, and the sections of opt_run_metrics."""

from lab.reference.markdown import code, table
from optimizer.bidder.metrics import METRICS, PREFIX
from optimizer.core.checks.catalogue import RULES
from optimizer.core.checks.outcome import VERDICT_CODES
from optimizer.core.records.window_totals import QueryCosts
from optimizer.runs import metrics
from optimizer.runs.identification import IDENTIFICATION
from optimizer.training.job import TuningReport

_INTRODUCTION = """\
# Metrics

## The bidder

`GET /metrics` of `python -m optimizer.bidder serve`, in Prometheus' text format.
"""

_RUN_METRICS = """\
## opt_run_metrics

One row per run, section and key. `register` writes them in the transaction that completes the run. `optimizer show RUN
--json` prints them, and the run's `metrics.json` has the same sections. Live figures are in `opt_live_daily`,
`opt_live_verdicts` and `opt_live_savings`.
"""

SECTIONS = {
    "win_rate_model": "The win-rate model on the held-out latest days: AUC, calibration error (ECE), log loss.",
    "ctr_model": "The click model on the same days, and whether it is used.",
    "tuning": "The parameter search, where `tuning_trials` is above 0.",
    "tracking": "The run's number in the tracking service, where tracking is on.",
    "bid_landscape": "The slope of the win rate with its standard error, and the trust band.",
    "global_stats": "Totals of the window: win rate, value of a click, value of a thousand views.",
    "data": "Rows of the log, and how many of them cannot be used.",
    "warehouse": "What the statements that read the log scanned and cost, if the warehouse reports it.",
    "coarse_cells": "What was coarser in the cells, where the log has more than `max_cells`.",
    "bidding": "λ (`shadow_price_cpm`), the fallback bid, what the bids are expected to bring, and the jitter.",
    "forecast": "Win rate, CPM, spend and margin of the next days, each with 80 % and 95 % intervals.",
    IDENTIFICATION: "Whether the run is learning, which bids varied at random, and when learning ends.",
    "backtest": "What the new bids would have brought on the log's last days, and what the active run's would.",
    "validation": "The figure of each check.",
    "validation_limits": "The limit of each check.",
    "validation_verdicts": "The verdict of each check: "
    + ", ".join(f"{number} {verdict}" for verdict, number in VERDICT_CODES.items())
    + ".",
    "target": "The target win rate, the expected one, the reachable one, and the share of requests at each limit.",
}
"""Section of opt_run_metrics: what its rows say."""


_CHECKS = f"one per check, {len(RULES)} in all; see [validation](../validation.md)"
KEYS = {
    "tuning": ", ".join(code(name) for name in TuningReport.model_fields if name not in ("reason", "parameters")),
    "warehouse": ", ".join(code(name) for name in QueryCosts.model_fields),
    "coarse_cells": "`max_cells`, `finest_cells`, the merged price buckets and days, and the features left out",
    IDENTIFICATION: "`is_learning`, `learning_since`, `learning_days_left`, the slope, and each randomness test",
    "backtest": "`<quantity>_<active, new or difference>`, the last two with `_low` and `_high`; support",
    "validation": _CHECKS,
    "validation_limits": _CHECKS,
    "validation_verdicts": _CHECKS,
    "target": "`target_win_rate`, `expected_win_rate`, `reachable_win_rate`, `share_<limit>`",
}
"""Keys that depend on the run, in words."""


def metrics_page() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, _bidder_table(), _RUN_METRICS, _section_table()])


def sections_written() -> dict[str, tuple[str, ...]]:
    """Return the sections of a run's metrics, each with those of its keys that every run has."""
    return {name: section.keys for name, section in metrics.SECTIONS.items()}


def _section_table() -> str:
    keys = {section: ", ".join(map(code, names)) for section, names in sections_written().items()} | KEYS
    return table(["Section", "Meaning", "Keys"], [[code(it), text, keys.get(it, "")] for it, text in SECTIONS.items()])


def _bidder_table() -> str:
    rows = []
    for name, described in METRICS.items():
        suffix = "_total" if described.kind == "counter" else ""
        labels = ", ".join(map(code, described.labels))
        rows.append([code(f"{PREFIX}{name}{suffix}"), described.kind, labels, described.text])
    return table(["Metric", "Type", "Labels", "Meaning"], rows)
