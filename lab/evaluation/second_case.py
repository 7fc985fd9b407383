"""A scenario of the second family with one seed: the log, a run on it, and what its bids bring."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from lab.evaluation.second_log import LiveLog, run_settings, view_revenue
from lab.evaluation.second_outcome import BidScore, judge_bids, moves_from_usual
from lab.evaluation.self_report import verdict_of
from lab.evaluation.trial import TrialRun, run_trial
from lab.second_market.auctions import Bids
from lab.second_market.market import Market
from lab.second_market.requests import Requests
from lab.second_market.scenarios import SCENARIOS, Scenario
from lab.second_market.served import ServedTable
from lab.second_market.settings import FIRST_DAY
from optimizer.core.checks.outcome import Verdict
from optimizer.core.config.settings import RunSettings


@dataclass(frozen=True, slots=True)
class SecondCase:
    """A scenario's market with the log before the first run, and the settings of its runs."""

    scenario: Scenario
    market: Market
    settings: RunSettings
    log: LiveLog

    @classmethod
    def open(cls, scenario: str | Scenario, seed: int) -> "SecondCase":
        """Return the scenario, by name or itself, with this seed."""
        scenario = SCENARIOS[scenario] if isinstance(scenario, str) else scenario
        market = scenario.create(seed)
        settings = run_settings(scenario, market)
        return cls(
            scenario, market, settings, LiveLog.open(market, view_revenue=view_revenue(scenario, market, settings))
        )

    def run(self, log: LiveLog, *, live: list[TrialRun]) -> tuple[TrialRun, Verdict]:
        """Return the run of the log's next morning with its verdict; the last of the live runs is the active one."""
        day, extracted = FIRST_DAY + timedelta(days=log.end_day), log.extract()
        run = run_trial(
            extracted,
            settings=self.settings,
            run_id=f"{day:%Y%m%d}_060000",
            earlier=[run.as_earlier for run in live],
            candidates=log.candidates,
        )
        return run, verdict_of(run, extracted, settings=self.settings, active=live[-1] if live else None)

    def judge(self, requests: Requests, bids: Bids) -> BidScore:
        """Return the true outcome of the bids, and the ideal at the scenario's target."""
        value_cpm = 1_000 * self.log.view_revenue
        highest = (1 - self.settings.target_margin) * value_cpm if value_cpm else np.inf
        target = self.scenario.target_win_rate
        return judge_bids(self.market, requests, bids, target_win_rate=target, highest_cpm=highest)

    def moves_from_usual(self, log: LiveLog, requests: Requests, bids: Bids, table: ServedTable) -> np.ndarray:
        """Return how far each base bid is from the usual bid of its key in the log."""
        usual = log.usual_bids(table.features)
        return moves_from_usual(self.market, requests, bids, features=table.features, usual_cpm=usual)
