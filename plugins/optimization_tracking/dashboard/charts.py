"""What the charts draw, as plain JSON; static/charts.js draws it, and a table says the same."""

from collections.abc import Iterable, Sequence
from typing import Any

from optimization_tracking.dashboard.differences import ConfigRow
from optimization_tracking.dashboard.formatting import json_text, shortened
from optimization_tracking.dashboard.words import words_of
from optimization_tracking.differences import flatten
from optimization_tracking.models.comparing import Trend
from optimization_tracking.models.runs import Run
from optimization_tracking.models.samples import Sample
from optimization_tracking.tables.compared import ComparedRow
from optimization_tracking.tables.history import HistoryPoint
from optimizer.presentation.formats import count, measure, visible

MAX_PARAMETERS = 12
MAX_CATEGORIES = 12
MAX_OUTPUTS = 4
MAX_TITLE = 80

Chart = dict[str, Any]


def history_chart(run: Run, points: Sequence[HistoryPoint]) -> Chart | None:
    """Return the score of each iteration and the best so far; None without a score."""
    if not any(point.score is not None for point in points):
        return None
    return {
        "kind": "history",
        "x": [point.iteration for point in points],
        "xLabel": words_of(run).step,
        "series": [
            {"label": "score", "values": [point.score for point in points], "dots": True},
            {"label": "best so far", "values": [point.best_score for point in points]},
        ],
    }


def overlaid_chart(runs: Sequence[ComparedRow], histories: Sequence[Sequence[HistoryPoint]]) -> Chart | None:
    """Return the best so far of several runs over the same axis; None where none has a score."""
    numbers = sorted({point.iteration for history in histories for point in history})
    series = []
    for run, history in zip(runs, histories, strict=True):
        series.append({"label": visible(run.run_name), "values": _held(history, numbers)})
    if not any(value is not None for one in series for value in one["values"]):
        return None
    return {"kind": "overlay", "x": numbers, "xLabel": "iteration", "series": series}


def trend_chart(trend: Trend) -> Chart | None:
    """Return a figure by the start of each run, with the expected band; None without a run."""
    points = trend.points
    if not points:
        return None
    days = (points[-1].at - points[0].at).total_seconds() / 86_400
    is_odd = [point.verdict in ("better", "worse") for point in points]
    values = [point.value for point in points]
    return {
        "kind": "days" if days > 3 else "hours",
        "unit": "",
        "xLabel": "started (UTC)",
        "x": [point.at.timestamp() for point in points],
        "series": [
            {"label": trend.figure.name, "values": values, "color": "s0", "dots": 6},
            {"label": "expected up to", "values": [point.high for point in points], "edge": True},
            {"label": "from", "values": [point.low for point in points], "edge": True},
            {
                "label": "outside",
                "values": [value if odd else None for value, odd in zip(values, is_odd, strict=True)],
                "color": "s1",
                "dots": 11,
                "line": False,
            },
        ],
        "bands": [[2, 3]],
        "notes": [visible(point.run_name) for point in points],
    }


def key_charts(runs: Sequence[ComparedRow], rows: Sequence[ConfigRow]) -> list[Chart]:
    """Return a chart for each key of the configs that differs, of the final score over its value."""
    scored = [(run, flatten(run.config or {})) for run in runs if run.final_score is not None]
    drawn: list[Chart] = []
    for row in rows:
        pairs = [(flat[row.key], run.final_score, visible(run.run_name)) for run, flat in scored if row.key in flat]
        is_varied = len({json_text(value) for value, _, _ in pairs}) > 1
        if is_varied and (chart := _value_chart(row.key, pairs, "final score")) is not None:
            drawn.append(chart)
        if len(drawn) == MAX_PARAMETERS:
            break
    return drawn


def parameter_charts(points: Sequence[HistoryPoint]) -> tuple[list[Chart], list[tuple[str, str]]]:
    """Return a chart for each parameter that varied, of score over its value, and those that never did: (name, value).

    Parameters that are lists, or words of more than a dozen kinds, have no chart.
    """
    pairs_of: dict[str, list[tuple[Any, HistoryPoint]]] = {}
    for point in points:
        if point.score is not None:
            for name, value in flatten(point.params or {}).items():
                pairs_of.setdefault(name, []).append((value, point))
    charts: list[Chart] = []
    constant = []
    for name, pairs in pairs_of.items():
        if len({json_text(value) for value, _ in pairs}) == 1:
            constant.append((name, json_text(pairs[0][0])))
        elif len(charts) < MAX_PARAMETERS and (chart := _value_chart(name, _notes(pairs), "score")) is not None:
            charts.append(chart)
    return charts, constant


def sample_charts(samples: Iterable[Sample]) -> list[Chart]:
    """Return charts of predicted over observed: of two numbers, or of each number that two objects share."""
    pairs: dict[str, list[tuple[float, float, str]]] = {}
    for sample in samples:
        for name, observed, predicted in _numbers(sample):
            pairs.setdefault(name, []).append((observed, predicted, f"sample {sample.iteration}/{sample.sample_index}"))
    return [_scatter(name, "observed", points, "predicted", kind="agreement") for name, points in pairs.items()][
        :MAX_OUTPUTS
    ]


def _held(history: Sequence[HistoryPoint], numbers: Sequence[int]) -> list[float | None]:
    """Return the best score at each number: between a run's iterations that of the one before, beyond its last None."""
    best = {point.iteration: point.best_score for point in history}
    last = history[-1].iteration if history else -1
    values, held = [], None
    for number in numbers:
        held = best.get(number, held)
        values.append(held if number <= last else None)
    return values


def _notes(pairs: Sequence[tuple[Any, HistoryPoint]]) -> list[tuple[Any, Any, str]]:
    return [(value, point.score, f"iteration {point.iteration}") for value, point in pairs]


def _value_chart(name: str, pairs: Sequence[tuple[Any, Any, str]], y_label: str) -> Chart | None:
    """Return a chart of numbers over values, which are numbers or a dozen words; None over other values.

    Args:
        pairs: value, number and what the point is.
    """
    categories = None
    if not all(_is_number(value) for value, _, _ in pairs):
        categories = list(dict.fromkeys(json_text(value) for value, _, _ in pairs))
        if len(categories) > MAX_CATEGORIES or any(isinstance(value, list) for value, _, _ in pairs):
            return None
        places = {category: place for place, category in enumerate(categories)}
        pairs = [(places[json_text(value)], number, note) for value, number, note in pairs]
    chart = _scatter(name, name, pairs, y_label, kind="scatter")
    if categories is not None:
        chart["categories"] = [shortened(category, 18) for category in categories]
    return chart


def _scatter(title: str, x_label: str, points: Sequence[tuple[float, Any, str]], y_label: str, *, kind: str) -> Chart:
    ordered = sorted(points, key=lambda point: point[0])
    return {
        "kind": kind,
        "title": shortened(title, MAX_TITLE),
        "x": [x for x, _, _ in ordered],
        "xLabel": shortened(x_label, MAX_TITLE),
        "notes": [note for _, _, note in ordered],
        "series": [{"label": y_label, "values": [y for _, y, _ in ordered], "dots": True}],
    }


def _numbers(sample: Sample) -> list[tuple[str, float, float]]:
    observed, predicted = sample.expected_output, sample.predicted_output
    if _is_number(observed) and _is_number(predicted):
        return [("output", observed, predicted)]
    if isinstance(observed, dict) and isinstance(predicted, dict):
        shared = [name for name in observed if _is_number(observed[name]) and _is_number(predicted.get(name))]
        return [(name, observed[name], predicted[name]) for name in shared]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def describe_history(run: Run, points: Sequence[HistoryPoint]) -> str:
    """Return the history in one sentence, for those who do not see the chart."""
    words = words_of(run)
    scored = [point for point in points if point.score is not None]
    if not scored:
        return f"No {words.step} has a score yet."
    first, last = scored[0], scored[-1]
    reached = next(
        (f", reached at {words.step} {point.iteration}" for point in scored if point.score == last.best_score), ""
    )
    if run.iterations == 1 or len(scored) == 1:
        return f"One {words.step} has a score: {measure(last.score)}, at {words.step} {last.iteration}."
    change = f"from {measure(first.score)} to {measure(last.score)}"
    return f"Score over {count(run.iterations)} {words.steps}: {change}; best {measure(last.best_score)}{reached}."
