"""Figures of the live side for the table: verdicts, savings, spend guard and split check over many worlds each."""

from collections.abc import Callable, Mapping

import numpy as np

from lab.evaluation.goals import TrialFigures
from lab.evaluation.live_judgement import LIMITS
from lab.live_market.looks import LOOKS, Looks, read_once_reach, savings_missed
from lab.live_market.runs import CPM, WIN_RATE, draw_runs
from lab.live_market.spending import draw_days, taken_off
from lab.live_market.splits import DEPLOYED, alarms, new_ids
from optimizer.core.config.settings import RunSettings
from optimizer.core.live.daily_ratio import reach

WORLDS = 1_000
"""Worlds of a seed: every figure is a share of them, or a mean over them."""

BAD_WIN_RATE = 0.24
"""Of a bad run, whose forecast and control are WIN_RATE."""

DAYS = 30
"""Days on which an honest run or split is looked at: one look a morning."""

OVERSPEND_FACTOR = 3
"""A run that overspends pays this many times its forecast CPM."""

BIDS_A_DAY = (60, 500, 5_000)
"""Sizes of the runs that the spend guard looks at; it finds an overspend from LEAST_BIDS_TO_FIND on."""

LEAST_BIDS_TO_FIND = 500
TRIED_SHARES = np.array([0.3, 0.7])
"""What a wrong bidder serves where DEPLOYED is to be served."""


def try_live_worlds(name: str, seed: int) -> list[TrialFigures]:
    """Return the figures of one seed of a scenario of LIVE_NAMES, over WORLDS worlds.

    Raises:
        KeyError: there is no such scenario.
    """
    figures = _SCENARIOS[name](np.random.default_rng(seed))
    return [TrialFigures(name, "optimizer", seed, **figures)]


def _try_verdicts(*, is_beside: bool) -> Callable[[np.random.Generator], dict[str, float]]:
    def try_worlds(rng: np.random.Generator) -> dict[str, float]:
        all_figures = Looks(LIMITS, is_beside, reach_of=reach)
        win_rate = Looks(LIMITS, is_beside, ["win_rate"], reach)
        once = Looks(LIMITS, is_beside, ["win_rate"], read_once_reach)
        good, short, bad = (
            draw_runs(rng, worlds=WORLDS, days=LOOKS, win_rate=rate)
            for rate in (WIN_RATE, WIN_RATE * (1 - LIMITS.tolerance), BAD_WIN_RATE)
        )
        found = win_rate.days_to_find(bad)
        return {
            "good_blamed": _share(all_figures.below_target(good).any(1)),
            "borderline_blamed": _share(win_rate.below_target(short).any(1)),
            "bad_found": _share(found <= LOOKS),
            "bad_found_day": float(found.mean()),
            "bad_found_later": float(found.mean() - once.days_to_find(bad).mean()),
        }

    return try_worlds


def _try_savings(rng: np.random.Generator) -> dict[str, float]:
    runs = draw_runs(rng, worlds=WORLDS, days=LOOKS)
    return {"savings_covered": 1 - _share(savings_missed(runs, saved_share=0.0, reach_of=reach))}


def _try_spend_guard(rng: np.random.Generator) -> dict[str, float]:
    bound = RunSettings().max_overspend
    worlds = WORLDS // len(BIDS_A_DAY)
    honest = [
        taken_off(bids, *draw_days(rng, bids=bids, size=(worlds, DAYS)), max_overspend=bound).any(1)
        for bids in BIDS_A_DAY
    ]
    costly = [
        taken_off(bids, *draw_days(rng, bids=bids, cpm=OVERSPEND_FACTOR * CPM, size=(worlds,)), max_overspend=bound)
        for bids in BIDS_A_DAY
        if bids >= LEAST_BIDS_TO_FIND
    ]
    return {"honest_taken_off": _share(np.concatenate(honest)), "overspend_found": _share(np.concatenate(costly))}


def _try_split_check(rng: np.random.Generator) -> dict[str, float]:
    honest = new_ids(rng, DEPLOYED, worlds=WORLDS, days=DAYS)
    alarmed = np.array([alarms(honest[:, :day]) for day in range(1, DAYS + 1)]).any(0)
    wrong = new_ids(rng, TRIED_SHARES, worlds=WORLDS, days=1)
    return {"honest_alarmed": _share(alarmed), "mismatch_found": _share(alarms(wrong))}


_SCENARIOS: Mapping[str, Callable[[np.random.Generator], dict[str, float]]] = {
    "live: against the forecast": _try_verdicts(is_beside=False),
    "live: against the control": _try_verdicts(is_beside=True),
    "live: savings": _try_savings,
    "live: spend guard": _try_spend_guard,
    "live: split check": _try_split_check,
}
LIVE_NAMES = tuple(_SCENARIOS)


def _share(flags: np.ndarray) -> float:
    return float(flags.mean())
