"""Which is better: groups of runs with a paired test, and one figure from run to run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from optimization_tracking.dashboard import charts
from optimization_tracking.dashboard.differences import compare_configs
from optimization_tracking.dashboard.filters import Query, read_model, read_query
from optimization_tracking.dashboard.lists import NARROWING
from optimization_tracking.dashboard.rendering import render
from optimization_tracking.dashboard.visitors import Visiting
from optimization_tracking.database import Connection
from optimization_tracking.models.comparing import (
    FIGURES,
    MIN_PAIRS,
    GroupFilters,
    RunGroup,
    RunGroups,
    Trend,
    TrendFilters,
)
from optimization_tracking.models.queries import RunFilters
from optimization_tracking.paths import COLUMNS, parse_path
from optimization_tracking.routes.dependencies import Tracking
from optimization_tracking.tables.comparing import group_runs, read_trend
from optimization_tracking.tables.run_lists import list_page

SUGGESTED_FROM = 50
"""The newest runs whose keys are suggested."""
MAX_SUGGESTIONS = 40
MAX_LOOKED_AT = 400
"""Keys of the newest runs that are looked at for suggestions."""
FOREST_WIDTH = 150
"""Pixels of the drawing of means and their intervals."""

GROUP_FIELDS = ("by", "namePattern", "pairBy", "baseline", "figure", "better", "limit", *NARROWING, "projectId")
TREND_FIELDS = ("entity", "figure", "better", "limit", *NARROWING, "projectId")
_PLACES = {name: (f"{name}.", column) for name, column in COLUMNS.items()}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What the project's newest runs can be grouped by, and the numbers that they have beside their scores."""

    places: list[str]
    figures: list[str]
    entities: list[str]


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """Where a group's mean and its interval stand in the drawing, in pixels."""

    mean: float
    low: float | None
    width: float | None


@router.get("/groups")
async def groups(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """Runs in groups: size, mean, interval, and a paired test against one of them."""
    query = read_query(request.query_params, GROUP_FIELDS)
    is_asked = bool(query.get("by"))
    filters, errors = read_model(GroupFilters, query, required={"by": "type"})
    found: RunGroups | None = None
    async with database.transaction([visit.project_id]) as connection:
        suggestions = await _suggest(connection, visit.project_id)
        if is_asked and not errors:
            found = await group_runs(connection, filters, project_id=visit.project_id)
    return render(
        request,
        "groups",
        status=422 if errors else 200,
        here="groups",
        visit=visit,
        query=query,
        errors=errors,
        found=found,
        marks=forest(found.groups) if found is not None else {},
        links=_links(found, query) if found is not None else {},
        forest_width=FOREST_WIDTH,
        min_pairs=MIN_PAIRS,
        suggestions=suggestions,
    )


@router.get("/trend")
async def trend(request: Request, database: Tracking, visit: Visiting) -> HTMLResponse:
    """One figure from run to run, with the band that was expected of each."""
    query = read_query(request.query_params, TREND_FIELDS)
    filters, errors = read_model(TrendFilters, _of_entity(query))
    found: Trend | None = None
    async with database.transaction([visit.project_id]) as connection:
        suggestions = await _suggest(connection, visit.project_id)
        if not errors:
            found = await read_trend(connection, filters, project_id=visit.project_id)
    return render(
        request,
        "trend",
        status=422 if errors else 200,
        here="trend",
        visit=visit,
        query=query,
        errors=errors,
        found=found,
        chart=charts.trend_chart(found) if found is not None else None,
        suggestions=suggestions,
    )


def forest(found: Sequence[RunGroup]) -> dict[str, IntervalMark]:
    """Return where each group's mean and interval stand on one scale."""
    ends = [end for group in found for end in (group.low, group.high, group.mean) if end is not None]
    if not ends:
        return {}
    start, span = min(ends), (max(ends) - min(ends)) or 1.0
    inner = FOREST_WIDTH - 12

    def place(value: float) -> float:
        return round(6 + inner * (value - start) / span, 1)

    marks = {}
    for group in found:
        if group.mean is None:
            continue
        has_interval = group.low is not None and group.high is not None
        low = place(group.low) if has_interval and group.low is not None else None
        high = place(group.high) if has_interval and group.high is not None else None
        marks[group.key] = IntervalMark(
            place(group.mean), low, high - low if high is not None and low is not None else None
        )
    return marks


async def _suggest(connection: Connection, project_id: str) -> Suggestions:
    newest, _ = await list_page(connection, RunFilters(limit=SUGGESTED_FROM, includeTotal=False), project_id=project_id)
    keys, figures = ["tag", "type", "day"], list(FIGURES)
    for name, (prefix, column) in _PLACES.items():
        values = [value if isinstance(value, dict) else {} for value in (getattr(run, column) for run in newest)]
        for row in compare_configs(values, max_cells=SUGGESTED_FROM * MAX_LOOKED_AT).rows:
            is_number = any(_is_number(text) for text in row.values)
            if name == "evaluationResults":
                figures += [prefix + row.key] if is_number else []
            elif row.differs and len(set(row.values)) <= max(len(newest) // 2, 2):  # not what each run has of its own
                keys.append(prefix + row.key)
    entities = sorted({str(run.metadata["entity"]) for run in newest if isinstance(run.metadata.get("entity"), str)})
    return Suggestions(keys[:MAX_SUGGESTIONS], figures[:MAX_SUGGESTIONS], entities)


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and isinstance(float(text), float)
    except ValueError:
        return False


def _of_entity(query: Query) -> Query:
    """Return the query with the entity of the page's own field where the API has it: in the metadata."""
    entity = query.get("entity")
    pairs = tuple((key, value) for key, value in query.pairs if key != "entity")
    if not entity or query.get("metadata"):
        return Query(pairs)
    return Query((*pairs, ("metadata", json.dumps({"entity": entity}))))


def _links(found: RunGroups, query: Query) -> dict[str, str]:
    """Return the query string of the list of each group's runs, where the list has such a filter."""
    kept = Query(tuple(pair for pair in query.pairs if pair[0] in (*NARROWING, "projectId")))
    words = {"tag": "tags", "type": "optimizerType", "status": "status"}
    if found.by in words:
        name = words[found.by]
        values = query.all("tags") if name == "tags" else []
        return {group.key: kept.link(**{name: [*values, group.key]}) for group in found.groups}
    if "." not in found.by or (path := parse_path(found.by)).column not in ("config", "metadata"):
        return {}
    if query.get(path.column):
        return {}
    return {
        group.key: kept.link(**{path.column: _nested(path.steps, group.value)})
        for group in found.groups
        if group.value is not None
    }


def _nested(steps: Sequence[str], value: Any) -> str:
    for step in reversed(steps):
        value = {step: value}
    return json.dumps(value)
