"""What the search of the page knows is what `optimizer explain` says."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from core.priced_runs import FEATURES, PricedRun, price, segment_table
from reporting.stories import bid_table, changed_bids, live_comparison, story

from optimizer.core.config.settings import RunSettings
from optimizer.core.pricing.bid_bounds import BOUNDS
from optimizer.core.pricing.explanation import explain_bid
from optimizer.core.serving.keys import split_key
from optimizer.reporting import segment_search as searching
from optimizer.reporting.segment_search import segment_search

SHOWN = {"wanted_bid_cpm": 2, "planned_bid_cpm": 2, "suggested_bid_cpm": 2, "expected_win_rate": 4}


def at(column: Any, segment: int) -> Any:
    return column[segment] if isinstance(column, list) else column


def content(told: Any) -> dict[str, Any]:
    return json.loads(segment_search(told).content)


def reason(data: dict[str, Any], segment: int) -> str:
    """The sentence, put together as the page does."""
    pattern, numbers = data["reason"]["patterns"][data["reason"]["codes"][segment]], data["reason"]["numbers"][segment]
    found = numbers.split(" ") if numbers else []
    return "".join(part + number for part, number in zip(pattern, [*found, ""], strict=True))


@pytest.fixture(scope="module", params=[{}, {"max_bid_cpm": 6.0}, {"aggressive_exploration": True}], ids=str)
def run(request: pytest.FixtureRequest) -> PricedRun:
    return price(segment_table(adspaces=5, regions=8), **request.param)


def test_every_number_and_sentence_is_that_of_explain(run: PricedRun):
    told = story(bids=run.bids, key_features=FEATURES, pricing=run.pricing, win_rate=run.landscape.win_rate)
    data, rows = content(told), run.bids.sort_values("requests", ascending=False, kind="stable")
    assert data["segments"] == len(rows)
    for segment, (_, row) in enumerate(rows.iterrows()):
        known = explain_bid(row, features=FEATURES, pricing=run.pricing, win_rate=run.landscape.win_rate)
        parts = [feature["parts"][feature["codes"][segment]] for feature in data["features"]]
        assert "|".join(parts) == known.segment_key
        values = [feature["values"][feature["codes"][segment]] for feature in data["features"]]
        assert dict(zip(FEATURES, values, strict=True)) == known.features
        assert reason(data, segment) == known.reason_text
        for name, digits in SHOWN.items():
            expected = getattr(known, name)
            assert at(data["columns"][name], segment) == (None if expected is None else round(expected, digits))
        limits = {step.name: (step.low_cpm, step.high_cpm) for step in known.steps if step.name in BOUNDS}
        found = {
            name: tuple(at(edges[side], segment) for side in ("low", "high")) for name, edges in data["limits"].items()
        }
        assert found == {
            name: tuple(None if edge is None else round(edge, 2) for edge in edges) for name, edges in limits.items()
        }


def test_the_bid_of_the_live_run_is_known_of_changed_and_of_unchanged_segments():
    bids = bid_table(10)
    changes = changed_bids(bids)
    data = content(story(bids=bids, live=live_comparison(changes=changes)))
    before = bids.set_index("segment_key")["suggested_bid_cpm"].to_dict()
    before |= changes.set_index("segment_key")["before_cpm"].to_dict()
    ordered = bids.sort_values("requests", ascending=False)["segment_key"]
    assert data["live_bid_cpm"] == pytest.approx([before[key] for key in ordered])
    assert content(story(bids=bids, live=None))["live_bid_cpm"] is None


def test_the_largest_segments_are_kept_and_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch):
    bids = bid_table(60)
    monkeypatch.setattr(searching, "MOST_SEGMENTS", 20)
    found = segment_search(story(bids=bids))
    assert (found.segments, found.left_out) == (20, 40)
    assert found.request_share == pytest.approx(bids["requests"].head(20).sum() / bids["requests"].sum())


def test_a_bound_on_the_bytes_holds_however_long_the_keys_are(monkeypatch: pytest.MonkeyPatch):
    bids = bid_table(60)
    bids["segment_key"] = [f"{'x' * 200}{number}|a|b" for number in range(60)]
    monkeypatch.setattr(searching, "MOST_BYTES", 9_000)
    found = segment_search(story(bids=bids))
    assert 0 < found.segments < 60 and len(found.content) <= 9_000
    assert found.segments + found.left_out == 60


def test_no_value_ends_the_script_or_turns_the_text_around():
    values = ["</script><script>alert(1)</script>", "\u202egnp.exe", "<!--", "\u2028"]
    bids = bid_table(4)
    bids["segment_key"] = [f"{value}|New%20York|%EMPTY" for value in values]
    search = segment_search(story(bids=bids))
    assert search.content.isascii()
    assert not set("<>&") & set(search.content)
    data = json.loads(search.content)
    assert sorted(data["features"][0]["values"]) == sorted(values)
    assert data["features"][2]["values"] == [None] and split_key("%EMPTY") == [None]


def test_a_target_out_of_reach_wants_no_finite_bid_and_has_no_number():
    bids = bid_table(3).assign(wanted_bid_cpm=[math.inf, 8.0, 9.0], floor_cpm=math.nan)
    of_segments = replace(story().pricing, settings=RunSettings(win_rate_scope="segment"))
    data = content(story(bids=bids, pricing=of_segments, win_rate_scope="segment"))
    assert data["columns"]["wanted_bid_cpm"] == [None, 8.0, 9.0]
    assert data["limits"]["floor"] == {"low": None, "high": None}
