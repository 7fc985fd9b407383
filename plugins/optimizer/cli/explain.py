"""Commands that explain: how one bid was computed, and what changed between two runs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from optimizer.cli.control_plane import connect
from optimizer.cli.objects import open_store
from optimizer.cli.options import AsJson, RunId
from optimizer.core.pricing.bid_steps import BidStep
from optimizer.core.pricing.explanation import Explanation, explain_bid, find_segment
from optimizer.core.pricing.run_comparison import (
    PARTS,
    BidChange,
    Comparison,
    OneSided,
    SegmentComparison,
    compare_runs,
)
from optimizer.core.pricing.step_notes import step_note
from optimizer.presentation.terminal import console, format_value, print_json, print_table
from optimizer.runs.published_run import PublishedRun, read_published

SegmentKey = Annotated[
    str, typer.Argument(metavar="SEGMENT", help="The segment_key as it is in suggested_bids.csv, in quotes.")
]
EarlierRun = Annotated[str, typer.Argument(metavar="RUN", help="The run_id of the earlier run.")]
LaterRun = Annotated[str, typer.Argument(metavar="RUN", help="The run_id of the later run.")]
Top = Annotated[int, typer.Option(min=1, max=1000, help="How many changed bids to show.")]

Row = tuple[str, ...]

PART_TITLES = {"shadow_price": "shadow price"}


def explain(run: RunId, segment: SegmentKey, as_json: AsJson = False) -> None:
    """Show how the bid of one segment was computed, number by number."""
    published = _read(run)[0]
    explanation = explain_bid(
        find_segment(published.bids, segment, run_id=run, blocked=published.blocked),
        features=published.features,
        pricing=published.pricing,
        win_rate=published.landscape.win_rate,
    )
    if as_json:
        return print_json({"run_id": run, **asdict(explanation)})
    _print_explanation(explanation, run)


def diff(earlier: EarlierRun, later: LaterRun, top: Top = 10, as_json: AsJson = False) -> None:
    """Show what changed between two runs, and why."""
    before, after = _read(earlier, later)
    comparison = compare_runs(before.for_comparison(), after.for_comparison(), top=top)
    if as_json:
        return print_json(asdict(comparison))
    _print_comparison(comparison)


def _read(*run_ids: str) -> list[PublishedRun]:
    engine = connect()
    with open_store() as store:
        return [read_published(run_id, engine=engine, store=store) for run_id in run_ids]


def _print_explanation(explanation: Explanation, run_id: str) -> None:
    _print_sections(
        f"Segment {explanation.segment_key} of run {run_id}",
        ["number", ">value", "what it says"],
        [
            [(name, "", _text(value)) for name, value in explanation.features.items()],
            _evidence_rows(explanation),
            _curve_rows(explanation),
            _worth_rows(explanation),
        ],
    )
    _print_sections(
        "From the wanted bid to the suggested bid",
        ["step", ">lowest", ">highest", ">bid CPM", ">win rate", "moved", "what it is"],
        [[_step_row(step) for step in explanation.steps]],
    )
    for line in _closing_lines(explanation):
        console.print(Text(line))


def _closing_lines(explanation: Explanation) -> list[str]:
    lines = [explanation.reason_text]
    if explanation.suggested_bid_cpm is not None:
        margin = explanation.expected_margin
        kept = "" if margin is None else f" at a margin of {_percent(margin)}"
        wins = f"which is expected to win {_percent(explanation.expected_win_rate)}{kept}"
        lines.append(f"It bids {_money(explanation.suggested_bid_cpm)} CPM, {wins}.")
    problem = explanation.not_served_because
    return [*lines, "It is served." if problem is None else f"It is not served: {problem}."]


def _print_sections(title: str, columns: Sequence[str], sections: Iterable[Sequence[Sequence[str]]]) -> None:
    """Print rows of text in sections; columns that begin with > hold numbers: to the right and never folded."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        is_number = column.startswith(">")
        header = column.removeprefix(">").replace(" ", "\n" if is_number else " ")
        table.add_column(header, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for section in sections:
        for row in section:
            table.add_row(*map(Text, row))
        table.add_section()
    console.print(table)


def _evidence_rows(explanation: Explanation) -> list[Row]:
    evidence, effective = explanation.evidence, f"{explanation.evidence.effective_bids:,.1f}"
    return [
        ("bids", _text(evidence.bids), f"{effective} effective ones: older bids count less"),
        ("views", _text(evidence.views), f"{_percent(evidence.observed_win_rate)} of the bids won"),
        (
            "clicks",
            _text(evidence.clicks),
            f"{_percent(evidence.observed_ctr)} of the views; {_percent(evidence.modelled_ctr)} once shrunk",
        ),
    ]


def _curve_rows(explanation: Explanation) -> list[Row]:
    curve = explanation.curve
    error, verdict = curve.slope_error, "identified" if curve.is_slope_identified else "not identified"
    # Without an error no spread around the model was found.
    own = f"{_percent(curve.own_share)} of the level is its own evidence" if curve.level_error else "the model says all"
    return [
        (
            "model's level",
            f"{curve.model_level:+.3f}",
            f"logit of winning against rivals at {curve.reference_cpm:.2f} CPM",
        ),
        ("own shift", f"{curve.level_shift:+.3f}", own),
        ("correction", f"{curve.level_correction:+.3f}", "what the last days won beyond earlier forecasts"),
        (
            "flatness",
            f"{curve.flatness:.3f}",
            "the less a level is known, the flatter the curve; level and slope ÷ this",
        ),
        (
            "level",
            f"{curve.level:+.3f}",
            f"± {curve.level_error:.3f}; wins {_percent(curve.win_rate_at_reference)} at {curve.reference_cpm:.2f} CPM",
        ),
        ("win rate", _percent(curve.modelled_win_rate), "modelled at its mean logged bid"),
        ("slope", f"{curve.slope:.3f}", f"{curve.model_slope:.3f} ± {error:.3f} logit per log bid before; {verdict}"),
    ]


def _worth_rows(explanation: Explanation) -> list[Row]:
    worth = explanation.worth
    kept = f"{_percent(worth.value_trust)} trusted, less {_percent(worth.target_margin)} margin"
    return [
        ("value", _money(worth.value_cpm), f"CPM that views earn; {kept}: {worth.own_worth_cpm:.2f}"),
        ("shadow price", _money(worth.shadow_price_cpm), "CPM, what one more win is worth so that the target is met"),
        ("worth of a win", _money(worth.worth_cpm), "CPM, both together"),
    ]


def _step_row(step: BidStep) -> Row:
    moved = "" if step.name == "wanted" else _text(step.has_moved)
    edges = (_money(step.low_cpm), _money(step.high_cpm))
    return (step.name, *edges, _money(step.bid_cpm), _percent(step.win_rate), moved, step_note(step))


def _print_comparison(comparison: Comparison) -> None:
    print_table(
        f"From run {comparison.run_before} to run {comparison.run_after}",
        ["figure", "before", "after", "change"],
        ([item.name, item.before, item.after, _change(item.before, item.after)] for item in comparison.figures),
    )
    if comparison.config:
        print_table(
            "Configuration", ["key", "before", "after"], ([i.name, i.before, i.after] for i in comparison.config)
        )
    else:
        console.print(Text("The configuration is the same."))
    if comparison.segments is None:
        _print_other_keys(comparison)
    else:
        _print_segments(comparison.segments)
    if comparison.anchors and comparison.segments is None:
        print_table(
            "Planned bids by anchor value, mean over requests",
            ["anchor value", "requests", "before", "after", "change %"],
            (
                [_text(a.anchor_value), a.requests, a.before_cpm, a.after_cpm, 100 * (a.after_cpm / a.before_cpm - 1)]
                for a in comparison.anchors
            ),
        )


def _print_other_keys(comparison: Comparison) -> None:
    gone = ", ".join(comparison.features_gone) or "none"
    new = ", ".join(comparison.features_new) or "none"
    order = "" if comparison.features_gone or comparison.features_new else " (the same ones in another order)"
    console.print(
        Text(
            f"The features differ{order}: gone {gone}; new {new}. So no segment key of one run means anything in the "
            "other, and bids are compared by anchor value only."
        )
    )


def _print_segments(segments: SegmentComparison) -> None:
    console.print(
        Text(
            f"{segments.segments_in_both:,} segments in both runs; {_one_sided(segments.only_before)} only before, "
            f"{_one_sided(segments.only_after)} only after."
        )
    )
    if segments.mean_parts is None or segments.mean_log_change is None:
        return
    shown = [part for part in PARTS if part != "rule" or segments.mean_parts[part] != 0]
    means = ", ".join(f"{_title(part)} {_hundredths(segments.mean_parts[part])}" for part in shown)
    console.print(Text(f"Planned bids moved by {_hundredths(segments.mean_log_change)} on average: {means}."))
    _print_sections(
        "The largest changes, times requests",
        ["segment", ">before after", ">change", *(f">{_title(part)}" for part in shown), ">jitter"],
        [[_change_row(change, shown) for change in segments.largest_changes]],
    )
    console.print(
        Text(
            "Planned bids in CPM, and what bound them. Changes are hundredths of the log bid, near percent; the parts "
            "add up to the change, each counted after those to its left. Jitter comes on top in the suggested bid."
        )
    )


def _change_row(change: BidChange, shown: Sequence[str]) -> Row:
    return (
        f"{change.segment_key}\n  {change.reason_before} -> {change.reason_after}",
        f"{_money(change.planned_before_cpm)}\n{_money(change.planned_after_cpm)}",
        _hundredths(change.log_change),
        *(_hundredths(change.parts[part]) for part in shown),
        _hundredths(change.jitter),
    )


def _one_sided(side: OneSided) -> str:
    return f"{side.segments:,} ({_percent(side.request_share)} of its requests)"


def _change(before: Any, after: Any) -> str | None:
    """The change of a number, in its own unit; None for what is not a number."""
    numbers = [value for value in (before, after) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or before == after:
        return None
    return ("+" if after > before else "") + format_value(after - before)


def _title(part: str) -> str:
    return PART_TITLES.get(part, part)


def _hundredths(log_change: float) -> str:
    return f"{round(100 * log_change, 1) + 0.0:+.1f}"


def _percent(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{100 * rate:.3g} %" if abs(rate) < 0.1 else f"{100 * rate:.1f} %".replace(".0 %", " %")


def _money(cpm: float | None) -> str:
    return "-" if cpm is None else f"{cpm:,.2f}"


def _text(value: Any) -> str:
    return format_value(value)
