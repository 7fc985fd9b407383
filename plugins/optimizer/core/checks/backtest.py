"""What the bids would have brought on the log's last days, against the active run's."""

from optimizer.core.checks.outcome import Check
from optimizer.core.checks.rules import Rule, by_name
from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.backtest import Backtest

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


def backtest_checks(backtest: Backtest | None, *, move: float, settings: RunSettings) -> list[Check]:
    """Return the checks of a run that has an active one before it.

    Args:
        move: the larger of the relative change of spend and the request-weighted mean move of the bids.
    """
    is_supported = backtest is not None and backtest.is_supported
    supported = _supported_check(is_supported, NO_BACKTEST if backtest is None else backtest.reason, move)
    if backtest is None or not is_supported:
        return [supported]
    won, cpm, surplus = (backtest.find(quantity) for quantity in ("win_rate", "cpm", "surplus"))
    lowest_win_rate = MIN_WIN_RATE_SHARE * min(settings.target_win_rate, _known(won.active))
    wins_no_more = _known(won.difference_high) <= 0
    rise = _known(cpm.difference_low) / _known(cpm.active) if wins_no_more else None
    return [
        supported,
        _RULES["backtest_win_rate_high"].check(_known(won.new_high), lowest_win_rate),
        *_RULES["backtest_cpm_rise_low"].check_known(rise, 0.0),
        *_RULES["backtest_surplus_difference_high"].check_known(surplus.difference_high, 0.0),
    ]


def _known(figure: float | None) -> float:
    """A figure of win rate or cost, which every supported backtest has."""
    if figure is None:
        raise ValueError("a supported backtest has a figure without value")
    return figure


def _supported_check(is_supported: bool, reason: str | None, move: float) -> Check:
    """A run without support is held where it moves much; a small move only warns."""
    is_large = move > LARGE_MOVE
    problem = f"the log cannot show what these bids would have brought ({reason})"
    if is_large:
        problem += f", and they move by {move:.0%}"
    return _RULES["backtest_supported"].check(
        int(is_supported),
        1,
        problem=problem,
        next_step=None if is_large else "watch the live numbers: `optimizer live`",
        severity="hold" if is_large else "soft",
    )
