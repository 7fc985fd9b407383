"""The keys of a run's configuration, as the optimizer reads them: the one place that lists and bounds them."""

import json
from types import NoneType
from typing import Any, Literal, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from optimizer.core.config.merge import ConfigKey

CONFIG_VERSION = "v3"
"""The version_code whose keys `RunSettings` reads."""

_TYPE_NAMES = {bool: "bool", int: "int", float: "float"}


def _key(section: str, default: Any, title: str, description: str, **bounds: Any) -> Any:
    visible = bounds.pop("is_ui_visible", True)
    extra = {"section": section, "is_ui_visible": visible}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class RunSettings(BaseModel):
    """Typed settings of one run. Money is CPM in the account's currency (1.00 = one unit per thousand impressions)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target_win_rate: float = _key(
        "business", 0.30, "Target win rate", "Share of auctions to win (0.3: 30 %).", ge=0.01, le=0.99
    )
    target_margin: float = _key(
        "business",
        0.30,
        "Target margin",
        "The minimum share of an impression's value to keep.",
        ge=0.0,
        le=0.95,
    )
    win_rate_scope: Literal["portfolio", "segment"] = _key(
        "business", "portfolio", "Win rate scope", "Reach the target over all traffic (cheaper), or in every segment."
    )
    exploration_mode: bool = _key(
        "business", True, "Exploration", "Vary bids at random by 3 to 10 %, so that later runs can learn from them."
    )
    dry_run: bool = _key(
        "business",
        False,
        "Dry run",
        "Learn, price and validate, then stop. The run keeps its figures and files, and can never be deployed.",
    )
    promote_old_window: bool = _key(
        "business",
        False,
        "Promote an old window",
        "Let a run go live although its window ended long ago.",
    )
    promotion: Literal["auto", "approval", "canary", "none"] = _key(
        "business",
        "auto",
        "Promotion",
        "How a validated run goes live: at once (auto), after approval in Airflow (approval), on a share of the "
        "traffic until its live numbers are on target (canary), only manually (none).",
    )
    canary_traffic_pct: int = _key(
        "business", 10, "Canary traffic (%)", "Share of the traffic that a canary gets.", ge=1, le=50
    )
    canary_plan: str | None = _key(
        "business",
        None,
        "Canary plan",
        "Steps by which a canary gets more traffic, percent@days: 5@1d, 20@2d, 50@2d, 100. Empty: one step of "
        "canary_traffic_pct, until it is decided.",
    )
    control_pct: int = _key(
        "business",
        5,
        "Control (%)",
        "Share of the traffic that bids the entity's pinned control, against which savings are measured. 0: none.",
        ge=0,
        le=50,
    )
    approval_timeout_hours: int = _key(
        "business",
        20,
        "Approval time-out (hours)",
        "A run that is not approved in this time does not go live. The next run waits meanwhile.",
        ge=1,
        le=72,
        is_ui_visible=False,
    )
    auto_rollback: bool = _key(
        "business",
        False,
        "Automatic rollback",
        "Restore the previous split if a live run is below its forecast or below the control.",
        is_ui_visible=False,
    )
    max_bid_cpm: float = _key(
        "technical", 30.0, "Maximum bid (CPM)", "No bid exceeds this, multipliers included.", ge=0.01, le=1000.0
    )
    aggressive_exploration: bool = _key(
        "technical", False, "Aggressive exploration", "Wider variation, wider trust band and larger daily steps."
    )
    lookback_days: int = _key(
        "technical", 60, "Look-back (days)", "How many days of the log to learn from.", ge=7, le=400
    )
    half_life_days: float | None = _key(
        "technical",
        None,
        "Half-life (days)",
        "After this many days an auction counts half. Empty: 21, or what predicts later weeks better (95 %).",
        ge=1.0,
        le=400.0,
    )
    tuning_trials: int = _key(
        "technical",
        0,
        "Tuning trials",
        "Number of parameter sets of the win-rate model to try on walk-forward folds; 0: none.",
        ge=0,
        le=500,
    )
    tuning_minutes: int = _key(
        "technical", 30, "Tuning minutes", "No tuning trial starts after this time.", ge=1, le=90, is_ui_visible=False
    )
    training_slots: int = _key(
        "technical",
        1,
        "Training slots",
        "Slots of Airflow's pool optimizer_training that training takes, each OPTIMIZER_TRAINING_THREADS threads. The "
        "pool must have as many, or training never starts.",
        ge=1,
        le=256,
        is_ui_visible=False,
    )
    training_cluster: bool = _key(
        "technical",
        False,
        "Train on the Dask cluster",
        "Train the win-rate model on the cluster of OPTIMIZER_DASK_SCHEDULER, because one worker is too slow. Bids "
        "differ a little from those of one worker.",
        is_ui_visible=False,
    )
    anchor_feature: str = _key(
        "technical", "internal_adspace_id", "Anchor feature", "The feature that every segment key starts with."
    )
    max_features: int = _key("technical", 4, "Maximum features", "The maximum in a segment key.", ge=1, le=8)
    max_segments: int = _key(
        "technical",
        20_000,
        "Maximum segments",
        "The maximum that a feature may lead to.",
        ge=1,
        le=5_000_000,
    )
    min_segment_bids: int = _key(
        "technical",
        30,
        "Evidence needed (bids)",
        "With this many bids a segment counts as known when features are chosen. Smaller ones are served too.",
        ge=1,
        le=100_000,
    )
    min_evidence_share: float = _key(
        "technical",
        0.7,
        "Minimum evidence share",
        "A feature joins the key only if at least this share of the bids stays in known segments.",
        ge=0.0,
        le=1.0,
    )
    max_cells: int = _key(
        "technical",
        2_000_000,
        "Maximum cells",
        "The maximum number of cells that a run reads of its log, about 1 KiB of memory each; a quarter of it by "
        "domain and by NPI. A log with more is read coarser, and the run says how.",
        ge=10_000,
        le=50_000_000,
        is_ui_visible=False,
    )
    daily_step_limit: float = _key(
        "technical",
        0.15,
        "Maximum daily step",
        "The maximum move of a served bid per day, jitter included (0.15: 15 %).",
        ge=0.03,
        le=1.0,
    )
    max_calibration_error: float = _key(
        "technical",
        0.08,
        "Maximum calibration error",
        "Validation fails if predicted win rates are off by more than this (ECE) on the latest days.",
        ge=0.0,
        le=1.0,
    )
    min_row_coverage: float = _key(
        "technical",
        0.5,
        "Minimum row coverage",
        "Validation fails if a smaller share of requests finds a bid of its own. Blocked keys do not count.",
        ge=0.0,
        le=1.0,
    )
    min_volume_share: float = _key(
        "technical", 0.5, "Minimum volume", "Validation fails below this share of recent runs' bids per day.",
        ge=0.0, le=1.0,
    )  # fmt: skip
    min_win_share: float = _key(
        "technical",
        0.5,
        "Minimum share of wins",
        "Validation fails if the bids would win less than this share of what is won now (0.5: 50 %).",
        ge=0.0,
        le=1.0,
    )
    min_spend_share: float = _key(
        "technical",
        0.25,
        "Minimum share of spend",
        "Validation fails if the bids would spend less than this share of what is spent now (0.25: 25 %); winning as "
        "much for half the price is not a failure.",
        ge=0.0,
        le=1.0,
    )
    max_spend_change: float = _key(
        "technical",
        0.5,
        "Maximum spend change",
        "Validation fails if predicted spend changes by more than this (0.5: 50 %).",
        ge=0.0,
        le=10.0,
    )
    max_overspend: float = _key(
        "technical",
        0.5,
        "Maximum overspend",
        "How far a day's spend per bid or CPM may exceed its forecast before the run is taken off (0.5: 50 %).",
        ge=0.0,
        le=10.0,
    )
    require_comparison: bool = _key(
        "technical",
        True,
        "Require a comparison",
        "Validation fails if the active run's bids cannot be read, so that the daily step cannot be kept.",
    )
    max_data_age_days: int = _key(
        "technical", 2, "Maximum data age (days)", "Validation fails if the log ends earlier than this.", ge=1, le=60
    )
    monitor_min_days: int = _key(
        "technical",
        3,
        "Live days before a verdict",
        "Whole live days that a verdict needs; with fewer it is inconclusive.",
        ge=2,
        le=30,
        is_ui_visible=False,
    )
    live_tolerance: float = _key(
        "technical",
        0.1,
        "Live tolerance",
        "How far live numbers may fall short of the forecast: a share of it; of the margin, points (0.1: ten points).",
        ge=0.0,
        le=1.0,
        is_ui_visible=False,
    )
    schedule: str = _key(
        "technical", "0 6 * * *", "Schedule (cron, UTC)", "When the entity's daily run starts.", is_ui_visible=False
    )
    auction_type: Literal["first_price", "second_price"] = _key(
        "static", "first_price", "Auction type", "How the SSP clears auctions.", is_ui_visible=False
    )
    floor_available: bool = _key(
        "static", False, "Floors passed", "The SSP passes its floors in the bid request.", is_ui_visible=False
    )
    npi_enabled: bool = _key(
        "static", False, "NPI multipliers", "Adjust bids for identified professionals.", is_ui_visible=False
    )
    domain_enabled: bool = _key("static", False, "Domain multipliers", "Adjust bids by domain.", is_ui_visible=False)


def config_catalogue() -> tuple[ConfigKey, ...]:
    """Return the rows of opt_version_configs for the version that this code implements."""
    return tuple(_config_key(name, info) for name, info in RunSettings.model_fields.items())


def _config_key(name: str, info: FieldInfo) -> ConfigKey:
    extra: dict[str, Any] = info.json_schema_extra  # type: ignore[assignment]
    is_optional = NoneType in get_args(info.annotation)
    kind = get_args(info.annotation)[0] if is_optional else info.annotation
    choices = get_args(kind)
    return ConfigKey(
        config_key=name,
        config_section=extra["section"],
        display_name=info.title or name,
        description=info.description or "",
        data_type=_TYPE_NAMES.get(kind, "str"),  # type: ignore[arg-type]
        default_value=info.default if isinstance(info.default, str | None) else json.dumps(info.default),
        min_value=next((str(item.ge) for item in info.metadata if isinstance(item, Ge)), None),
        max_value=next((str(item.le) for item in info.metadata if isinstance(item, Le)), None),
        allowed_values=tuple(choices) if choices else None,
        is_required=not is_optional,
        is_ui_visible=extra["is_ui_visible"],
    )
