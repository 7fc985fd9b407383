"""report.html: one page on one run."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from optimizer.presentation.formats import amount, count, percent
from optimizer.reporting import bid_figures, live_tables, model_figures, tables
from optimizer.reporting.forecast import QUANTITIES, interval
from optimizer.reporting.report_data import RunStory
from optimizer.reporting.segment_search import segment_search
from optimizer.reporting.spend_tables import spend_panels

_FOLDER = Path(__file__).parent

_PAGES = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters |= {"count": count, "percent": percent}

LIMITS = {
    "trust_band": "Bids that the log knows",
    "hidden_floor": "Hidden floor",
    "step": "Daily step",
    "floor": "Floor of the SSP",
    "margin": "Target margin",
    "cap": "Highest bid allowed",
}
"""Limit of a bid, in the order in which limits are applied: what the page calls it."""


def render_report(story: RunStory) -> str:
    """Return the report of a run as one HTML page that needs no other file or host.

    The same story gives the same page, and its text is escaped. Its Content-Security-Policy allows the page's own
    script and nothing else.
    """
    script = (_FOLDER / "segment_search.js").read_text(encoding="utf-8")
    return _PAGES.get_template("report.html.j2").render(
        story=story,
        tiles=headline(story),
        has_intervals=any(interval(story.figures, name) for name in QUANTITIES),
        shadow_price=shadow_price_sentence(story),
        checks=tables.check_rows(story),
        live_sentence=live_tables.live_sentence(story),
        live_table=live_tables.live_table(story),
        changes=live_tables.change_rows(story),
        causes=live_tables.cause_rows(story),
        anchors=live_tables.anchor_rows(story),
        change_summary=live_tables.change_summary(story),
        spend=spend_panels(story),
        search=segment_search(story),
        limits=LIMITS.items(),
        script=Markup(script),  # noqa: S704 - a file of this package
        script_hash=_source_hash(script),
        bid_panels=[bid_figures.bid_distribution(story), bid_figures.reason_shares(story), bid_figures.coverage(story)],
        reasons=tables.reason_rows(story),
        curves=model_figures.win_rate_curves(story),
        model_panels=[model_figures.calibration(story), model_figures.feature_signals(story)],
        features=tables.feature_rows(story),
        backtest=story.backtest,
        no_backtest_because=no_backtest_because(story),
        backtest_rows=tables.backtest_rows(story),
        multipliers=bid_figures.multiplier_distributions(story),
        segments=tables.segment_rows(story),
        figures=tables.figure_rows(story),
    )


def _source_hash(script: str) -> str:
    """The script as a source of a Content-Security-Policy."""
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def headline(story: RunStory) -> list[dict[str, Any]]:
    """Return the numbers at the top of the page: label, value, note and whether it misses its target."""
    known, bids = story.figures, story.bids
    with_bid, served = int(bids["suggested_bid_cpm"].notna().sum()), int(bids["is_served"].sum())
    win_rate, margin = known.get("expected_win_rate"), known.get("expected_margin")
    return [
        _tile("Segments with a bid", count(with_bid), f"of {count(len(bids))}; {count(served)} served"),
        _tile(
            "Expected win rate",
            percent(win_rate),
            _note(known, "expected_win_rate", f"target {percent(story.target_win_rate)}"),
            _is_below(win_rate, story.target_win_rate),
        ),
        _tile(
            "Expected CPM",
            amount(known.get("expected_cpm")),
            _note(known, "expected_cpm", f"no bid above {amount(story.max_bid_cpm)}"),
        ),
        _tile(
            "Expected spend a day",
            amount(known.get("expected_spend_per_day")),
            _note(known, "expected_spend_per_day", "over all segments"),
        ),
        _tile(
            "Expected margin",
            percent(margin),
            _note(known, "expected_margin", f"target {percent(story.target_margin)}"),
            _is_below(margin, story.target_margin),
        ),
        _tile("Shadow price λ", amount(known.get("shadow_price_cpm")), "CPM beyond its value"),
        _tile(
            "Row coverage",
            percent(known.get("row_coverage")),
            f"new keys are bid {amount(known.get('fallback_bid_cpm'))}",
        ),
    ]


def shadow_price_sentence(story: RunStory) -> str:
    """Return what the run's shadow price says."""
    if story.win_rate_scope == "segment":
        return "Each segment is bid to the target separately, so no price is put on winning: λ is 0."
    price = story.figures.get("shadow_price_cpm")
    if not price:
        return "λ is 0: no price was put on winning beyond what the impressions are worth."
    meaning = f"λ = {amount(price)} CPM is what one more win counts beyond its own value"
    if _is_below(story.figures.get("expected_win_rate"), story.target_win_rate):
        return f"{meaning}, raised as far as the bounds of the bids let the win rate rise: the target is missed."
    sentence = f"{meaning}, raised until the whole portfolio expects its target: the higher, the more the target costs."
    ratio = story.figures.get("segment_scope_cpm_ratio")
    if ratio is None:
        return sentence
    return f"{sentence} To ask the target of every segment separately would make the CPM {ratio:.2f} times what it is."


def no_backtest_because(story: RunStory) -> str:
    """Return why a run without a backtest has none."""
    if story.active_run_id is None:
        return "there is nothing to hold this run against yet"
    return story.figures.get("active_run_problem") or "it is for first-price auctions only"


def _note(figures: Mapping[str, Any], name: str, note: str) -> str:
    """The figure's 95 % interval, where it has one, and the note."""
    return "; ".join(filter(None, (interval(figures, name), note)))


def _is_below(share: float | None, target: float) -> bool:
    """Whether the share misses the target by more than its last digit on the page."""
    return share is not None and share < target - 0.0005


def _tile(label: str, value: str, note: str, is_missed: bool = False) -> dict[str, Any]:
    return {"label": label, "value": value, "note": note, "is_missed": is_missed}
