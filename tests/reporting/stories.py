"""Stories with known numbers, and a page read back as a browser would read it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from optimizer.core.checks.outcome import CheckRecord, Severity
from optimizer.core.landscape.features import FeatureScore
from optimizer.core.pricing.backtest import Backtest
from optimizer.core.pricing.backtest_estimate import QuantityComparison
from optimizer.reporting.page import render_report
from optimizer.reporting.report_data import RunStory

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
            "expected_win_rate": win_rate(level, slope, suggested),
            "observed_win_rate": wins / bids,
            "reason": np.resize(REASONS, segments),
            "is_served": bids >= 30,
        }
    )


def without_active_run(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(previous_bid_cpm=np.nan)


def without_bids(table: pd.DataFrame) -> pd.DataFrame:
    nothing = dict.fromkeys(("planned_bid_cpm", "suggested_bid_cpm"), np.nan)
    return table.assign(**nothing, expected_win_rate=0.0, reason="no_bid_floor", is_served=False)


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
        checks=[check("join_rate"), check("calibration_error"), check("largest_step")],
        calibration=[
            {"predicted": rate, "observed": rate * 1.04, "bids": 8000.0} for rate in np.linspace(0.05, 0.6, 10)
        ],
        backtest=backtest(),
        domains=pd.DataFrame({"domain": ["a.example", "b.example"], "multiplier": [0.8, 1.2], "bids": [500, 500]}),
        npi_multipliers=np.sort(chance.gamma(9, 1 / 9, 500).clip(0.7, 3.0)),
    )
    return replace(whole, **changes)


@dataclass
class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, its texts and its tables."""

    source: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
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
        if self._open[-1:] == ["style"]:
            self.styles += data
            return
        self.sections[self._section] = self.sections.get(self._section, "") + " " + data
        if "td" in self._open or "th" in self._open:
            gap = " " if self._open[-1] == "small" else ""
            self.rows[-1][-1] = (self.rows[-1][-1] + gap + data.strip()).strip()


def read(told: RunStory) -> Page:
    """Return the story's page as it is read."""
    return Page(render_report(told))


def _backtest_row(quantity: str, *sides: tuple[float | None, float | None, float | None]) -> QuantityComparison:
    figures: dict[str, float | None] = {}
    for side, (value, low, high) in zip(("active", "new", "difference"), sides, strict=True):
        figures |= {side: value, f"{side}_low": low, f"{side}_high": high}
    return QuantityComparison(quantity, **figures)
