"""Stories with known numbers, and a page read back as a browser would read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from markupsafe import Markup
from scipy.special import expit

from optimizer.core.checks.outcome import CheckRecord, Severity
from optimizer.core.config.settings import RunSettings
from optimizer.core.landscape.features import FeatureScore
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.backtest_estimate import QuantityComparison
from optimizer.core.pricing.bid_steps import RunPricing
from optimizer.core.pricing.expected_spend import DailySpend, ValueSpend
from optimizer.core.records.estimate import Estimate
from optimizer.reporting import drawing, model_figures
from optimizer.reporting.page import render_report
from optimizer.reporting.report_data import ComparedWith, LiveComparison, RunStory, SpendTable

REFERENCE_CPM = 10.0
REASONS = ("target", "step", "trust_band", "margin", "cap", "floor", "shrinkage", "held")
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}


def win_rate(level: Any, slope: Any, bid_cpm: Any) -> np.ndarray:
    return expit(level + slope * np.log(np.asarray(bid_cpm, float) / REFERENCE_CPM))


def bid_table(segments: int = 40, *, seed: int = 0) -> pd.DataFrame:
    """Return a bid table whose segments get smaller from row to row."""
    chance = np.random.default_rng(seed)
    bids = np.maximum(1, (40_000 / np.arange(1, segments + 1) ** 1.1)).astype(int)
    mean_bid, level = chance.uniform(6, 18, segments), chance.normal(-1, 0.6, segments)
    slope = chance.uniform(1.4, 2.2, segments)
    wins = chance.binomial(bids, win_rate(level, slope, mean_bid))
    planned = mean_bid * chance.uniform(0.8, 1.25, segments)
    suggested = np.round(planned * chance.uniform(0.9, 1.1, segments), 2)
    expected, value = win_rate(level, slope, suggested), chance.uniform(20, 60, segments)
    return pd.DataFrame(
        {
            "segment_key": [f"{10_000 + number}|New%20York|android" for number in range(segments)],
            "bids": bids,
            "wins": wins,
            "level": level,
            "slope": slope,
            "trust_low_cpm": 5.0,
            "trust_high_cpm": 24.0,
            "mean_bid_cpm": mean_bid,
            "recent_bids": bids,
            "recent_wins": wins,
            "recent_win_rate": wins / bids,
            "previous_bid_cpm": planned / chance.uniform(0.87, 1.15, segments),
            "planned_bid_cpm": planned,
            "suggested_bid_cpm": suggested,
            "expected_win_rate": expected,
            "expected_cost_cpm": suggested,
            "expected_margin": 1 - suggested / value,
            "value_cpm": value,
            "requests": bids / 60,
            "wanted_bid_cpm": planned * chance.uniform(0.9, 1.3, segments),
            "step_from_cpm": np.round(planned / chance.uniform(0.9, 1.1, segments), 2),
            "floor_cpm": np.where(np.arange(segments) % 4 == 0, 5.0, np.nan),
            "hidden_floor_cpm": 0.0,
            "own_share": 0.8,
            "is_held": False,
            "observed_win_rate": wins / bids,
            "reason": np.resize(REASONS, segments),
            "is_served": bids >= 30,
        }
    )


def without_active_run(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(previous_bid_cpm=np.nan)


def without_bids(table: pd.DataFrame) -> pd.DataFrame:
    nothing = dict.fromkeys(("planned_bid_cpm", "suggested_bid_cpm"), np.nan)
    unserved = {"expected_win_rate": 0.0, "reason": "no_bid_floor", "is_served": False}
    return table.assign(**nothing, expected_cost_cpm=np.nan, **unserved)


def check(name: str, *, is_passed: bool = True, severity: Severity = "hard", message: str = "") -> CheckRecord:
    return CheckRecord(
        name=name,
        severity=severity,
        figure=0.0321,
        relation="<=",
        limit=0.08,
        is_passed=is_passed,
        message=message,
    )


def feature(name: str, **changes: Any) -> FeatureScore:
    usual = FeatureScore(
        feature_name=name,
        signal_score=120.5,
        gain=31.25,
        gain_lower=28.5,
        is_selected=True,
        is_anchor=False,
        reason="lowers the error on later days",
    )
    return replace(usual, **changes)


def backtest(**changes: Any) -> Backtest:
    rows = (
        _backtest_row("win_rate", (0.27, 0.26, 0.28), (0.30, 0.29, 0.31), (0.03, 0.02, 0.04)),
        _backtest_row("spend", (1712.3, 1650.0, 1780.0), (1790.2, 1700.0, 1900.0), (77.9, -10.0, 160.0)),
        _backtest_row("cpm", (14.2, 14.0, 14.4), (14.6, 14.3, 14.9), (0.4, 0.1, 0.7)),
        _backtest_row("surplus", (-112.3, None, None), (90.25, None, None), (202.55, None, None)),
        _backtest_row("margin", (0.30, 0.28, 0.32), (0.31, 0.28, 0.34), (0.01, -0.02, 0.04)),
    )
    usual = Backtest(
        is_supported=True,
        reason="",
        days=7,
        requests=25_000,
        effective_sample_size=18_234.4,
        supported_share=0.9,
        replay_low=0.2,
        replay_high=0.4,
        rows=rows,
    )
    return replace(usual, **changes)


def changed_bids(bids: pd.DataFrame, *, every: int = 2) -> pd.DataFrame:
    """Return changes as `served_changes` finds them: every `every`th bid was 10 % lower, with the causes in turn."""
    rows = bids[bids["suggested_bid_cpm"].notna()].iloc[::every]
    causes = np.resize(["learned", "step", "cap", "target", "jitter", "new_segment"], len(rows))
    found = rows[["segment_key", "requests", "reason"]].assign(
        before_cpm=(0.9 * rows["suggested_bid_cpm"]).round(2),
        after_cpm=rows["suggested_bid_cpm"],
        spend_change=rows["requests"] * rows["suggested_bid_cpm"] * 0.1 / 1000,
        cause=causes,
    )
    return found.sort_values("spend_change", ascending=False, kind="stable").reset_index(drop=True)


def live_comparison(**changes: Any) -> LiveComparison:
    """Return a comparison with a live run and a control that were measured over a week, with the changes."""
    spread = {"win_rate": (0.28, 0.26, 0.30), "cpm": (13.9, 13.5, 14.3), "margin": (0.31, 0.2, 0.42)}
    whole = LiveComparison(
        live=ComparedWith(
            run_id="20260306_060000",
            forecast={"expected_win_rate": 0.29, "expected_cpm": 14.1, "expected_spend_per_day": 800.5},
            measured={figure: Estimate(*values) for figure, values in spread.items()},
            days=7,
            last_day=date(2026, 3, 5),
        ),
        control=ComparedWith(
            run_id="control_20260101_060000",
            forecast={"expected_win_rate": 0.22, "expected_cpm": 15.2},
            measured={"win_rate": Estimate(0.23), "cpm": Estimate(15.6), "margin": Estimate(0.2)},
            days=6,
            last_day=date(2026, 3, 5),
        ),
        against_control={"win_rate": Estimate(0.05, 0.01, 0.09), "cpm": Estimate(-1.7, -2.5, -0.9)},
        savings=("this month (2026-03-01 to 2026-03-05): +123.45 saved on 987.65 spent, against control",),
        changes=changed_bids(bid_table()),
    )
    return replace(whole, **changes)


def story(**changes: Any) -> RunStory:
    """Return a story of forty segments, every part of it given, with the changes."""
    chance = np.random.default_rng(1)
    whole = RunStory(
        run_id="20260307_060000",
        run_code="20260307_060000",
        entity_code="drugs_hcp",
        window_start=datetime(2026, 1, 6, tzinfo=UTC),
        window_end=datetime(2026, 3, 7, tzinfo=UTC),
        created_at=datetime(2026, 3, 7, 6, tzinfo=UTC),
        active_run_id="20260306_060000",
        target_win_rate=0.30,
        win_rate_scope="portfolio",
        target_margin=0.25,
        max_bid_cpm=30.0,
        bids=bid_table(),
        win_rate=win_rate,
        features=[
            feature("internal_adspace_id", is_anchor=True, signal_score=None, gain=None, gain_lower=None),
            feature("os_code"),
            feature("device_type", is_selected=False, gain=-0.5, gain_lower=-0.75, reason="no gain on later days"),
        ],
        figures={
            "shadow_price_cpm": 7.854,
            "fallback_bid_cpm": 12.34,
            "expected_win_rate": 0.3012,
            "expected_cpm": 14.56,
            "expected_margin": 0.3456,
            "row_coverage": 0.9387,
            "jitter_sd": 0.1,
            "reasons": {"target": 5},
        },
        key_features=("internal_adspace_id", "geo_region_name", "os_code"),
        pricing=RunPricing(RunSettings(target_win_rate=0.30), REFERENCE_CPM, 7.854, 0.9, 0.15, 0.1),
        checks=[check("join_rate"), check("calibration_error"), check("largest_step")],
        calibration=[
            {"predicted": rate, "observed": rate * 1.04, "bids": 8000.0} for rate in np.linspace(0.05, 0.6, 10)
        ],
        backtest=backtest(),
        domains=pd.DataFrame({"domain": ["a.example", "b.example"], "multiplier": [0.8, 1.2], "bids": [500, 500]}),
        npi_multipliers=np.sort(chance.gamma(9, 1 / 9, 500).clip(0.7, 3.0)),
        spend=[
            SpendTable("internal_adspace_id", is_expected=True, parts=parts("10000", "10001")),
            SpendTable("geo_region_name", is_expected=True, parts=parts("New York", None)),
            SpendTable("domain", is_expected=False, parts=parts(*(f"{number}.example" for number in range(14)))),
        ],
        live=live_comparison(),
    )
    return replace(whole, **changes)


def parts(*values: str | None) -> tuple[ValueSpend, ...]:
    """Return values of a feature that get smaller one by one."""
    return tuple(
        (value, DailySpend(requests=9000 / place, wins=2700 / place, spend=36 / place, value=54 / place))
        for place, value in enumerate(values, start=1)
    )


@dataclass
class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, its texts and its tables."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    styles: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._section = ""
        self.feed(self.source)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.sections.values()).split())

    def section(self, name: str) -> str:
        return " ".join(self.sections[name].split())

    def rows_of(self, section: str) -> list[list[str]]:
        return [row[1:] for row in self.rows if row[0] == section]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        elif tag == "tr":
            self.rows.append([self._section])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._open[-1:] in (["style"], ["script"]):
            self.styles += data if self._open[-1] == "style" else ""
            self.scripts += [data] if self._open[-1] == "script" else []
            return
        self.sections[self._section] = self.sections.get(self._section, "") + " " + data
        if "td" in self._open or "th" in self._open:
            gap = " " if self._open[-1] == "small" else ""
            self.rows[-1][-1] = (self.rows[-1][-1] + gap + data.strip()).strip()


def read(told: RunStory) -> Page:
    """Return the story's page as it is read."""
    return Page(render_report(told))


def read_words(told: RunStory) -> Page:
    """Return the story's page without its pictures."""
    with without_pictures():
        return read(told)


@contextmanager
def without_pictures() -> Iterator[None]:
    """Leave the pictures of reports empty, which take longer to draw than a run takes for its bids."""

    def draw(*_: Any, **__: Any) -> Markup:
        return Markup("<svg></svg>")

    with patch.object(drawing, "draw", draw), patch.object(model_figures, "draw", draw):
        yield


def _backtest_row(quantity: str, *sides: tuple[float | None, float | None, float | None]) -> QuantityComparison:
    figures: dict[str, float | None] = {}
    for side, (value, low, high) in zip(("active", "new", "difference"), sides, strict=True):
        figures |= {side: value, f"{side}_low": low, f"{side}_high": high}
    return QuantityComparison(quantity, **figures)
