"""Where the money goes: spend a day by the values of each feature, in words and numbers."""

from dataclasses import dataclass

from optimizer.core.pricing.expected_spend import DailySpend, total_spend
from optimizer.presentation.formats import amount, count, percent
from optimizer.reporting.report_data import RunStory, SpendTable

MOST_VALUES = 10

TITLES = {"geo_region_name": "State", "domain": "Domain"}
"""Feature: what the page calls it; the first of the key is the placement, all others go by their names."""

EMPTY_VALUE = "(empty)"


@dataclass(frozen=True, slots=True)
class SpendRow:
    """A value of a feature; kind is value, other (the sum of all smaller ones) or total."""

    name: str
    kind: str
    spend: str
    share: str
    win_rate: str
    cpm: str
    margin: str


@dataclass(frozen=True, slots=True)
class SpendPanel:
    """A feature's table with the sentence that says what its numbers are."""

    title: str
    feature: str
    caption: str
    rows: tuple[SpendRow, ...]


def spend_panels(story: RunStory) -> list[SpendPanel]:
    """Return a table for each feature of the key, and for state and domain."""
    return [_panel(table, is_anchor=table.feature == story.key_features[0]) for table in story.spend]


def _panel(table: SpendTable, *, is_anchor: bool) -> SpendPanel:
    title = TITLES.get(table.feature, "Placement" if is_anchor else table.feature)
    if table.is_expected:
        caption = "Expected of this run's bids."
    elif table.parts:
        caption = "Seen in the window's log. It is not a part of the segment key, so there is no forecast by it."
    else:
        caption = "Not known: it is not a part of the segment key, and the run did not read it from the log."
    return SpendPanel(title, table.feature, caption, tuple(_rows(table)))


def _rows(table: SpendTable) -> list[SpendRow]:
    total, rest = total_spend(table.parts), table.parts[MOST_VALUES:]
    if not table.parts:
        return []
    largest = table.parts[:MOST_VALUES]
    rows = [_row(EMPTY_VALUE if name is None else name, "value", spend, total) for name, spend in largest]
    if rest:
        rows.append(_row(f"{count(len(rest))} other", "other", total_spend(rest), total))
    return [*rows, _row("Total", "total", total, total)]


def _row(name: str, kind: str, spend: DailySpend, total: DailySpend) -> SpendRow:
    return SpendRow(
        name=name,
        kind=kind,
        spend=amount(spend.spend),
        share=percent(spend.spend / total.spend if total.spend > 0 else None),
        win_rate=percent(spend.win_rate),
        cpm=amount(spend.cpm),
        margin=percent(spend.margin),
    )
