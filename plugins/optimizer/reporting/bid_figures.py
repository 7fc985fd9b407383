"""The pictures of the bids: where they lie, what set them, whom they reach, and what multipliers make of them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from optimizer.presentation.formats import count, percent, segments
from optimizer.reporting.drawing import (
    ACCENT,
    BAND,
    BEFORE,
    INK,
    MUTED,
    ROUND_STEPS,
    Panel,
    draw_axes,
    percent_axis,
    plain_label,
)
from optimizer.reporting.report_data import RunStory

_CURVE_POINTS = 200


def bid_distribution(story: RunStory) -> Panel:
    """Return where the bids of this run and of the active one lie."""
    title, table = "Bids now and before", story.bids
    now, before = table[table["planned_bid_cpm"].notna()], table[table["previous_bid_cpm"].notna()]
    if not len(now):
        return Panel(title, "No segment can be bid on, so there are no bids to show.")
    everything = np.concatenate([now["planned_bid_cpm"], before["previous_bid_cpm"]])
    edges = _bin_edges(everything)

    def plot(axes: Axes) -> None:
        share = _histogram(now["planned_bid_cpm"], weights=now["bids"], edges=edges, total=table["bids"].sum())
        axes.stairs(share, edges, fill=True, color=BAND)
        axes.stairs(share, edges, color=ACCENT, linewidth=1.5)
        if len(before):
            old = _histogram(before["previous_bid_cpm"], weights=before["bids"], edges=edges, total=table["bids"].sum())
            axes.stairs(old, edges, color=BEFORE, linewidth=1.5)
        axes.set_xlim(edges[0], edges[-1])
        axes.margins(y=0.08)
        axes.set_xlabel("bid, CPM")
        axes.set_ylabel("share of requests")
        percent_axis(axes.yaxis)

    legend = (("now", "this run"), ("before", f"active run {story.active_run_id}")) if len(before) else ()
    ending = "further right is more expensive." if len(before) else "there is no bid of an active run to compare with."
    return Panel(
        title,
        f"Height is the share of all requests whose segment is bid so much, before jitter; {ending}",
        draw_axes(plot, name="bids", label="Distribution of the planned bids over requests"),
        legend,
    )


def reason_shares(story: RunStory) -> Panel:
    """Return what bound the bids, by segments and by requests."""
    grouped = story.bids.groupby("reason")["bids"]
    shares = pd.DataFrame({"segments": grouped.size(), "requests": grouped.sum()}).sort_values("requests")
    shares = shares / shares.sum()

    def plot(axes: Axes) -> None:
        place = np.arange(len(shares))
        axes.barh(place - 0.19, shares["segments"], height=0.3, color=BEFORE)
        axes.barh(place + 0.19, shares["requests"], height=0.3, color=ACCENT)
        for offset, column, colour in ((-0.19, "segments", MUTED), (0.19, "requests", INK)):
            for at, share in zip(place, shares[column], strict=True):
                axes.annotate(
                    percent(share), (share, at + offset), (4, 0), textcoords="offset points", va="center", color=colour
                )
        axes.set_yticks(place, [plain_label(reason.replace("_", " ")) for reason in shares.index])
        axes.set_xlim(0, max(0.01, 1.18 * shares.to_numpy().max()))
        axes.set_ylim(-0.6, len(shares) - 0.4)
        axes.xaxis.set_visible(False)
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)

    return Panel(
        "What set the bids",
        "A bar is the share whose bid was set by this reason; the table below says what each reason means.",
        draw_axes(plot, name="reasons", label="Reasons of the bids", height=30 + 38 * max(2, len(shares))),
        (("now", "of requests"), ("before", "of segments")),
    )


def coverage(story: RunStory) -> Panel:
    """Return how much traffic the largest segments hold, and how much of it is served its own bid."""
    table = story.bids.sort_values("bids", ascending=False, kind="stable")
    requests = table["bids"].to_numpy(float) / max(1.0, table["bids"].sum())
    everything, served = np.cumsum(requests), np.cumsum(requests * table["is_served"].to_numpy(bool))
    shown = np.unique(np.geomspace(1, max(1, len(table)), _CURVE_POINTS).round().astype(int)) - 1
    is_single, served_count = len(table) < 2, int(table["is_served"].sum())

    def plot(axes: Axes) -> None:
        style = {"marker": "o", "markersize": 5, "clip_on": False} if is_single else {"linewidth": 1.8}
        axes.plot(shown + 1, everything[shown], color=BEFORE, **style)
        axes.plot(shown + 1, served[shown], color=ACCENT, **style)
        if not is_single:
            axes.plot(len(table), served[-1], "o", color=ACCENT, markersize=6, clip_on=False)
        axes.set_xscale("log")
        axes.set_xlim(0.5 if is_single else 1, max(2, len(table)))
        axes.set_ylim(0, 1.03)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("segments, the largest first")
        axes.set_ylabel("share of requests")
        percent_axis(axes.yaxis)

    return Panel(
        "Coverage",
        "The share of requests that the largest segments hold together; the gap between the lines is traffic that "
        "gets no bid.",
        draw_axes(plot, name="coverage", label="Cumulative share of requests by number of segments"),
        (("now", f"{segments(served_count)} served, {percent(served[-1])}"), ("before", "all segments")),
    )


def multiplier_distributions(story: RunStory) -> list[Panel]:
    """Return the distributions of the domains' and of the professionals' multipliers, where the run has them."""
    panels = []
    if story.domains is not None:
        panels.append(
            _multiplier_panel(
                "Domain multipliers",
                story.domains["multiplier"].to_numpy(float),
                weights=story.domains["bids"].to_numpy(float),
                unit="share of requests",
                of="domains",
                name="domains",
            )
        )
    if story.npi_multipliers is not None:
        multipliers = np.asarray(story.npi_multipliers, float)
        panels.append(
            _multiplier_panel(
                "NPI multipliers",
                multipliers,
                weights=np.ones(len(multipliers)),
                unit="share of professionals",
                of="identified professionals",
                name="npis",
            )
        )
    return panels


def _multiplier_panel(title: str, values: np.ndarray, *, weights: np.ndarray, unit: str, of: str, name: str) -> Panel:
    if not len(values):
        return Panel(title, f"This run saw no {of}.")
    edges = _bin_edges(values)

    def plot(axes: Axes) -> None:
        share = _histogram(values, weights=weights, edges=edges, total=weights.sum())
        axes.stairs(share, edges, fill=True, color=BAND)
        axes.stairs(share, edges, color=ACCENT, linewidth=1.5)
        axes.axvline(1.0, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.set_xlabel("multiplier")
        axes.set_ylabel(unit)
        percent_axis(axes.yaxis)

    return Panel(
        title,
        f"{count(len(values))} {of}; right of the dashed line a request is bid more than its segment's bid.",
        draw_axes(plot, name=name, label=f"Distribution of the multipliers of {of}"),
    )


def _bin_edges(values: np.ndarray) -> np.ndarray:
    """Round edges of about thirty bins that hold the values."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = max(0.02 * (high - low), 0.01 * abs(high), 0.005)
    return np.asarray(MaxNLocator(30, steps=ROUND_STEPS).tick_values(max(0.0, low - margin), high + margin))


def _histogram(
    values: np.ndarray | pd.Series, *, weights: np.ndarray | pd.Series, edges: np.ndarray, total: float
) -> np.ndarray:
    return np.histogram(values, bins=edges, weights=weights)[0] / max(1.0, total)
