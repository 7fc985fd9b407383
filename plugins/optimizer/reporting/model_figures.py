"""The pictures of the models: win-rate curves, calibration, and the features that make up a segment."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from optimizer.core.landscape.binomial import wilson_interval
from optimizer.presentation.formats import amount, count, percent
from optimizer.reporting.drawing import (
    ACCENT,
    BAND,
    BEFORE,
    CARD,
    INK,
    MUTED,
    ROUND_STEPS,
    Panel,
    draw,
    draw_axes,
    percent_axis,
    plain_label,
)
from optimizer.reporting.report_data import RunStory

MOST_FEATURES_DRAWN = 12
_CURVE_POINTS = 200


def win_rate_curves(story: RunStory, *, most: int = 6) -> list[Panel]:
    """Return the win-rate curve of each of the largest segments, with its bid and what was seen."""
    largest = story.bids.nlargest(most, "bids")
    spans = [_curve_span(story, segment) for _, segment in largest.iterrows()]
    curves = [
        (bid, story.win_rate(segment["level"], segment["slope"], bid))
        for bid, (_, segment) in zip(spans, largest.iterrows(), strict=True)
    ]
    top = max((rate.max() for _, rate in curves), default=1.0)
    return [
        _curve_panel(segment, bid, rate, name=f"curve-{number}", top=min(1.0, 1.08 * top))
        for number, ((bid, rate), (_, segment)) in enumerate(zip(curves, largest.iterrows(), strict=True), start=1)
    ]


def calibration(story: RunStory) -> Panel:
    """Return predicted against observed win rates on the test days."""
    title = "Predicted and observed win rates"
    if not len(story.calibration):
        return Panel(title, "This run left no calibration: nothing was predicted on its test days.")
    bins = pd.DataFrame(list(story.calibration))
    low, high = wilson_interval(bins["observed"].to_numpy(float), bins["bids"].to_numpy(float))
    limit = min(1.0, 1.08 * float(max(high.max(), bins["predicted"].max())))

    def plot(axes: Axes) -> None:
        axes.plot([0, limit], [0, limit], color=BEFORE, linewidth=1.2)
        axes.vlines(bins["predicted"], low, high, color=ACCENT, linewidth=1.5)
        axes.plot(bins["predicted"], bins["observed"], "o", color=ACCENT, markersize=5)
        axes.set_xlim(0, limit)
        axes.set_ylim(0, limit)
        axes.set_xlabel("predicted win rate")
        axes.set_ylabel("observed win rate")
        for axis in (axes.xaxis, axes.yaxis):
            percent_axis(axis)

    return Panel(
        title,
        "On the line the model was right on days it had not seen; above it more was won than predicted.",
        draw_axes(plot, name="calibration", label="Calibration of the win-rate model on the test days"),
        (("now", "a tenth of the bids, 95 % interval"), ("before", "as predicted")),
    )


def feature_signals(story: RunStory) -> Panel:
    """Return each candidate feature's signal score and its gain on later days."""
    title, features = "Features", list(story.features)[:MOST_FEATURES_DRAWN][::-1]
    if not features:
        return Panel(title, "This run scored no features.")
    place = np.arange(len(features))
    colours = [ACCENT if feature.is_selected else BEFORE for feature in features]

    def plot(figure: Figure) -> None:
        signal, gain = figure.subplots(1, 2, sharey=True)
        signal.barh(place, [_or_zero(f.signal_score) for f in features], height=0.5, color=colours)
        for at, feature, colour in zip(place, features, colours, strict=True):
            if feature.is_anchor:
                signal.annotate("anchor", (0, at), (3, 0), textcoords="offset points", va="center", color=MUTED)
            if feature.gain is not None:
                gain.plot([feature.gain_lower, feature.gain], [at, at], color=colour, linewidth=1.5)
                gain.plot(feature.gain, at, "o", color=colour, markersize=5)
        gain.axvline(0, color=MUTED, linewidth=1)
        signal.set_yticks(place, [plain_label(feature.feature_name) for feature in features])
        signal.set_xlim(left=0)
        for axes, label in ((signal, "signal score"), (gain, "gain on later days")):
            axes.set_ylim(-0.6, len(features) - 0.4)
            axes.set_xlabel(label)
            axes.grid(axis="y", visible=False)
            axes.grid(axis="x", visible=True)
            axes.xaxis.set_major_locator(MaxNLocator(3))

    return Panel(
        title,
        "The signal score is how much win rates at equal price differ between a feature's values; a gain whose line, "
        "drawn down to its lower 95 % bound, stays right of 0 makes later days more predictable.",
        draw(plot, name="features", label="Signal scores and gains of the features", height=60 + 24 * len(features)),
        (("now", "in the segment key"), ("before", "left out")),
    )


def _curve_span(story: RunStory, segment: Mapping[str, Any] | pd.Series) -> np.ndarray:
    marks = [segment[name] for name in ("suggested_bid_cpm", "mean_bid_cpm")]
    known = [mark for mark in marks if np.isfinite(mark)] or [story.max_bid_cpm / 2]
    low, high = max(0.4 * min(known), 0.85 * segment["trust_low_cpm"]), 1.15 * segment["trust_high_cpm"]
    return np.linspace(min(low, 0.9 * min(known)), max(min(high, 2.2 * max(known)), 1.1 * max(known)), _CURVE_POINTS)


def _curve_panel(
    segment: Mapping[str, Any] | pd.Series, bid: np.ndarray, rate: np.ndarray, *, name: str, top: float
) -> Panel:
    suggested, seen = segment["suggested_bid_cpm"], segment["recent_win_rate"]
    low, high = wilson_interval(np.float64(seen), np.float64(max(segment["recent_bids"], 1)))

    def plot(axes: Axes) -> None:
        axes.axvspan(segment["trust_low_cpm"], segment["trust_high_cpm"], color=BAND, linewidth=0)
        axes.plot(bid, rate, color=ACCENT, linewidth=1.8)
        axes.vlines(segment["mean_bid_cpm"], low, high, color=INK, linewidth=1.5)
        axes.plot(segment["mean_bid_cpm"], seen, "o", color=INK, markersize=5.5, markerfacecolor=CARD, zorder=3)
        if np.isfinite(suggested):
            axes.plot([suggested, suggested], [0, segment["expected_win_rate"]], color=ACCENT, linewidth=1.2)
            axes.plot(suggested, segment["expected_win_rate"], "o", color=ACCENT, markersize=6.5)
        axes.set_xlim(bid[0], bid[-1])
        axes.set_ylim(0, top)
        axes.set_xlabel("bid, CPM")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
        percent_axis(axes.yaxis)

    requests = f"{count(segment['bids'])} requests; lately won {percent(seen)}"
    if np.isfinite(suggested):
        caption = f"{requests}; at {amount(suggested)} expected to win {percent(segment['expected_win_rate'])}."
    else:
        caption = f"{requests}; no bid."
    label = f"Win rate against bid of segment {segment['segment_key']}"
    return Panel(str(segment["segment_key"]), caption, draw_axes(plot, name=name, label=label, height=190))


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value
