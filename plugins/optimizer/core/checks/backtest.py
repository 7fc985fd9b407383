"""What the bids would have brought on the log's last days, against the active run's."""

from collections.abc import Mapping
from typing import Any

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings

MIN_WIN_RATE_SHARE = 0.9
LARGE_MOVE = 0.1
"""A move of bids or spend by more than this share needs the support of a backtest."""

NO_BACKTEST = "no backtest was made (second price, or another key)"

BACKTEST = (
    Rule(
        name="backtest_supported",
        severity="hold",
        relation=">=",
        limit_text="1",
        problem="the log cannot show what these bids would have brought",
        next_step="approve or deploy the run by hand; with more days of jittered bids the backtest has support",
    ),
    Rule(
        name="backtest_win_rate_high",
        severity="hard",
        relation=">=",
        limit_text="0.9 x the lower of target and active run",
        problem="on the last days these bids would have won less than the target and less than the active run's",
        next_step="do not use this run; the active run stays live",
    ),
    Rule(
        name="backtest_cpm_rise_low",
        severity="hard",
        relation="<=",
        limit_text="0",
        problem="on the last days these bids would have paid more per win without winning more",
        next_step="do not use this run; the active run stays live",
    ),
    Rule(
        name="backtest_surplus_difference_high",
        severity="soft",
        relation=">=",
        limit_text="0",
        problem="on the last days these bids would have earned less than the active run's",
        next_step="compare target_win_rate and target_margin with the shadow price in report.html",
    ),
)

_RULES = by_name(BACKTEST)


def backtest_checks(backtest: Mapping[str, Any] | None, *, move: float, settings: RunSettings) -> list[Check]:
    """Return the checks of a run that has an active one before it.

    Args:
        move: the larger of the relative change of spend and the request-weighted mean move of the bids.
    """
    backtest = backtest or {"is_supported": False, "reason": NO_BACKTEST}
    supported = _supported_check(backtest, move)
    if not backtest["is_supported"]:
        return [supported]
    rows = {row["quantity"]: row for row in backtest["rows"]}
    won, cpm, surplus = rows["win_rate"], rows["cpm"], rows["surplus"]
    lowest_win_rate = MIN_WIN_RATE_SHARE * min(settings.target_win_rate, won["active"])
    wins_no_more = won["difference_high"] <= 0
    rise = cpm["difference_low"] / cpm["active"] if wins_no_more else None
    return [
        supported,
        _RULES["backtest_win_rate_high"].check(won["new_high"], lowest_win_rate),
        *_RULES["backtest_cpm_rise_low"].check_known(rise, 0.0),
        *_RULES["backtest_surplus_difference_high"].check_known(surplus["difference_high"], 0.0),
    ]


def _supported_check(backtest: Mapping[str, Any], move: float) -> Check:
    """A run without support is held where it moves much; a small move only warns."""
    is_large = move > LARGE_MOVE
    problem = f"the log cannot show what these bids would have brought ({backtest['reason']})"
    if is_large:
        problem += f", and they move by {move:.0%}"
    return _RULES["backtest_supported"].check(
        int(backtest["is_supported"]),
        1,
        problem=problem,
        next_step=None if is_large else "watch the live numbers: `optimizer live`",
        severity="hold" if is_large else "soft",
    )
