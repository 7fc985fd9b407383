"""Which is better: groups of runs and their paired test, and the trend of one figure, against SciPy's own answers."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats

SEEDS = range(8)


@pytest.fixture(scope="module")
def shop(tracking):
    return tracking.client("shop")


def complete(shop, score, **fields):
    return shop.create_run(status="completed", finalScore=float(score), **fields)


def groups(shop, **filters):
    answer = shop.get("/groups", **filters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.fixture(scope="module")
def study(shop):
    """A tag of runs with three depths over the same seeds, and their scores by depth: 6 is better than 4, 8 is not."""
    tag = f"study-{uuid.uuid4().hex[:8]}"
    random = np.random.default_rng(7)
    by_seed = random.normal(0.5, 0.1, len(SEEDS))
    scores = {
        depth: by_seed - gain + random.normal(0, 0.005, len(SEEDS)) for depth, gain in ((4, 0), (6, 0.02), (8, 0))
    }
    for depth in scores:
        for seed in SEEDS:
            complete(
                shop,
                scores[depth][seed],
                direction="minimize",
                tags=[tag, f"depth {depth}"],
                runName=f"{tag} depth {depth} seed {seed}",
                config={"depth": depth, "learner": {"seed": seed}},
                metadata={"entity": f"client {seed}"},
                metric="log loss",
            )
    return tag, scores


def test_groups_have_their_size_mean_spread_and_interval(shop, study):
    tag, scores = study
    found = groups(shop, tags=tag, by="config.depth")
    assert found["figure"] == {"name": "final_score", "direction": "minimize", "metric": "log loss"}
    assert [group["key"] for group in found["groups"]] == [
        "6",
        *sorted(("4", "8"), key=lambda d: scores[int(d)].mean()),
    ]
    for group in found["groups"]:
        values = scores[int(group["key"])]
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert (group["n"], group["runs"], group["states"]) == (8, 8, {"completed": 8})
        measured = [group[name] for name in ("mean", "sd", "low", "high", "best", "worst")]
        assert measured == pytest.approx([values.mean(), values.std(ddof=1), low, high, values.min(), values.max()])
        assert group["againstBaseline"] is None


def test_a_paired_test_sees_what_the_seeds_would_hide(shop, study):
    tag, scores = study
    found = groups(shop, tags=tag, by="config.depth", pairBy="config.learner.seed")
    assert (found["baseline"], found["pairedBy"]) == ("4", "config.learner.seed")
    tests = {group["key"]: group["againstBaseline"] for group in found["groups"]}
    assert tests.pop("4") is None
    assert {key: test["verdict"] for key, test in tests.items()} == {"6": "better", "8": "inconclusive"}
    for key, test in tests.items():
        differences = scores[int(key)] - scores[4]
        told = stats.ttest_rel(scores[int(key)], scores[4])
        low, high = told.confidence_interval(1 - 0.05 / 2)  # two comparisons
        measured = [test[name] for name in ("pairs", "meanDifference", "low", "high", "pValue")]
        assert measured == pytest.approx([8, differences.mean(), low, high, min(1, 2 * told.pvalue)])
    assert stats.ttest_ind(scores[6], scores[4]).pvalue > 0.05


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ({"by": "name", "namePattern": "*depth {} seed *"}, {"4": 8, "6": 8, "8": 8}),
        ({"by": "metadata.entity"}, {f"client {seed}": 3 for seed in SEEDS}),
        ({"by": "type"}, {"rtb": 24}),
        ({"by": "status"}, {"completed": 24}),
        ({"by": "config.learner.rate"}, {}),
    ],
    ids=str,
)
def test_runs_are_grouped_by_name_entity_type_and_state(shop, study, by, keys):
    tag, _ = study
    found = groups(shop, tags=tag, **by)
    assert {group["key"]: group["n"] for group in found["groups"]} == keys
    assert (found["total"], found["leftOut"]["noGroup"]) == (len(keys), 0 if keys else 24)


def test_a_run_is_in_the_group_of_each_of_its_tags(shop, study):
    tag, _ = study
    found = groups(shop, tags=tag, by="tag", pairBy="metadata.entity", baseline="depth 8")
    assert {group["key"]: group["n"] for group in found["groups"]} == {
        tag: 24,
        "depth 4": 8,
        "depth 6": 8,
        "depth 8": 8,
    }
    assert found["baseline"] == "depth 8"
    assert next(group for group in found["groups"] if group["key"] == "depth 6")["againstBaseline"]["pairs"] == 8


def test_too_few_pairs_cannot_be_judged_and_too_few_runs_have_no_interval(shop):
    tag = f"few-{uuid.uuid4().hex[:8]}"
    for seed in range(4):
        for depth in (1, 2):
            complete(shop, depth + seed / 10, tags=[tag], config={"depth": depth, "seed": seed})
    for seed in range(2):
        complete(shop, 3, tags=[tag], config={"depth": 3, "seed": seed})
    found = groups(shop, tags=tag, by="config.depth", pairBy="config.seed")
    three, two, one = found["groups"]
    assert (three["low"], three["high"], one["low"] is None) == (None, None, False)
    assert two["againstBaseline"]["verdict"] == "cannot_be_judged"
    assert two["againstBaseline"]["reason"] == "4 pairs with the baseline; at least 5 are needed"
    assert (two["againstBaseline"]["meanDifference"], two["againstBaseline"]["pValue"]) == (pytest.approx(1), None)


@pytest.mark.parametrize(("gain", "verdict"), [(0.0, "inconclusive"), (0.5, "better"), (-0.5, "worse")])
def test_differences_without_any_spread_are_judged(shop, gain, verdict):
    tag = f"same-{uuid.uuid4().hex[:8]}"
    for seed in range(5):
        complete(shop, seed, tags=[tag], config={"arm": "a", "seed": seed})
        complete(shop, seed + gain, tags=[tag], config={"arm": "b", "seed": seed})
    found = groups(shop, tags=tag, by="config.arm", pairBy="config.seed", baseline="a")
    (test,) = [group["againstBaseline"] for group in found["groups"] if group["key"] == "b"]
    assert (test["verdict"], test["low"], test["high"]) == (verdict, gain, gain)


def test_runs_of_one_group_with_the_same_pair_count_as_one(shop):
    tag = f"repeats-{uuid.uuid4().hex[:8]}"
    for seed in range(5):
        for repeat in range(3):
            complete(shop, seed, tags=[tag], config={"arm": "a", "seed": seed})
            complete(shop, seed + repeat, tags=[tag], config={"arm": "b", "seed": seed})
    found = groups(shop, tags=tag, by="config.arm", pairBy="config.seed", baseline="a")
    (test,) = [group["againstBaseline"] for group in found["groups"] if group["key"] == "b"]
    assert (test["pairs"], test["meanDifference"]) == (5, 1)


def test_only_runs_whose_scores_mean_the_same_are_averaged(shop):
    tag = f"mixed-{uuid.uuid4().hex[:8]}"
    for _ in range(3):
        complete(shop, 1, tags=[tag], config={"a": 1}, metric="accuracy")
    complete(shop, 100, tags=[tag], config={"a": 1}, metric="accuracy", direction="minimize")
    complete(shop, 100, tags=[tag], config={"a": 1}, metric="recall")
    shop.create_run(status="failed", tags=[tag], config={"a": 1}, metric="accuracy")
    shop.create_run(status="running", bestScore=9, finalScore=9, tags=[tag], config={"a": 1}, metric="accuracy")
    found = groups(shop, tags=tag, by="config.a")
    (group,) = found["groups"]
    assert (group["n"], group["mean"], group["runs"]) == (3, 1, 5)
    assert group["states"] == {"completed": 3, "failed": 1, "running": 1}
    assert found["leftOut"] == {"otherDirection": 1, "otherMetric": 1, "noGroup": 0, "noFigure": 2, "tooOld": 0}
    (group,) = groups(shop, tags=tag, by="config.a", metric="recall")["groups"]
    assert (group["n"], group["mean"]) == (1, 100)
    (group,) = groups(shop, tags=tag, by="config.a", status="running")["groups"]
    assert (group["n"], group["mean"]) == (1, 9)


def test_a_number_in_the_results_is_a_figure_with_a_direction_of_its_own(shop):
    tag = f"figure-{uuid.uuid4().hex[:8]}"
    for number, value in enumerate((3, "x", None, 1.5, 1e300)):
        complete(shop, 0, tags=[tag], config={"n": number}, evaluationResults={"live": {"cpm": value}})
    found = groups(shop, tags=tag, by="config.n", figure="evaluationResults.live.cpm", better="minimize")
    assert [(group["key"], group["mean"]) for group in found["groups"]][:2] == [("3", 1.5), ("0", 3)]
    assert (found["leftOut"]["noFigure"], found["figure"]["direction"]) == (3, "minimize")


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({}, "by"),
        ({"by": "depth"}, "by"),
        ({"by": "config."}, "by"),
        ({"by": 'config."a'}, "by"),
        ({"by": r'config."\u0000"'}, "by"),
        ({"by": "tag", "pairBy": r'config."\ud800"'}, "pairBy"),
        ({"by": "tag", "figure": r'config."\x"'}, "figure"),
        ({"by": "name"}, "query"),
        ({"by": "name", "namePattern": "no group"}, "namePattern"),
        ({"by": "tag", "figure": "run_name"}, "figure"),
        ({"by": "tag", "pairBy": "tag"}, "pairBy"),
        ({"by": "tag", "limit": 101}, "limit"),
    ],
    ids=str,
)
def test_a_grouping_that_cannot_be_read_is_refused_with_its_field(shop, filters, field):
    answer = shop.get("/groups", **filters)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text


@pytest.mark.parametrize("key", ["a.b", 'q"uote', "'; --", "{}", "*", "%(x)s", "é\\d"], ids=str)
def test_keys_and_names_are_taken_as_they_stand(shop, key):
    tag = f"odd-{uuid.uuid4().hex[:8]}"
    complete(shop, 1, tags=[tag], config={key: 5}, runName=f"x {key} y 7")
    assert [group["key"] for group in groups(shop, tags=tag, by=f"config.{json.dumps(key)}")["groups"]] == ["5"]
    if "{}" not in key and "*" not in key:
        found = groups(shop, tags=tag, by="name", namePattern=f"x {key} y {{}}")
        assert [group["key"] for group in found["groups"]] == ["7"]


def test_a_long_value_is_a_key_by_its_beginning(shop):
    tag = f"long-{uuid.uuid4().hex[:8]}"
    complete(shop, 1, tags=[tag], config={"text": "x" * 5000, "object": {"a": [1]}})
    (group,) = groups(shop, tags=tag, by="config.text")["groups"]
    assert (group["key"], group["value"]) == ("x" * 300, None)
    (group,) = groups(shop, tags=tag, by="config.object")["groups"]
    assert (json.loads(group["key"]), group["value"]) == ({"a": [1]}, {"a": [1]})


def test_a_trend_has_the_band_that_the_runs_before_led_one_to_expect(shop):
    entity, begin = f"client-{uuid.uuid4().hex[:8]}", datetime(2026, 1, 1, tzinfo=UTC)
    values = [*np.random.default_rng(3).normal(0.5, 0.01, 40), 0.9, 0.5]
    for day, value in enumerate(values):
        start = (begin + timedelta(days=day)).isoformat()
        complete(shop, value, direction="minimize", startTime=start, metadata={"entity": entity}, metric="log loss")
    answer = shop.get("/trend", metadata=f'{{"entity": "{entity}"}}')
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]
    points = found["points"]
    assert [point["value"] for point in points] == pytest.approx(values)
    assert [point["verdict"] for point in points[:5]] == ["cannot_be_judged"] * 5
    assert points[40]["verdict"] == "worse"
    for place in (5, 30, 40):
        before = np.array(values[max(0, place - 28) : place])
        half = stats.t.ppf(0.975, len(before) - 1) * before.std(ddof=1) * np.sqrt(1 + 1 / len(before))
        band = [before.mean() - half, before.mean() + half]
        assert [points[place]["low"], points[place]["high"]] == pytest.approx(band)
    last = np.array(values[-28:])
    half = stats.t.ppf(0.975, 27) * last.std(ddof=1) * np.sqrt(1 + 1 / 28)
    assert [found["nextLow"], found["nextHigh"]] == pytest.approx([last.mean() - half, last.mean() + half])


def test_a_trend_is_of_the_newest_runs_and_says_which_it_left_out(shop):
    entity = f"client-{uuid.uuid4().hex[:8]}"
    for number in range(12):
        complete(shop, number, metadata={"entity": entity})
    found = shop.get("/trend", metadata=f'{{"entity": "{entity}"}}', limit=3).json()["data"]
    assert [point["value"] for point in found["points"]] == [9, 10, 11]
    assert all(point["low"] is not None for point in found["points"]) and found["leftOut"]["tooOld"] == 9
    assert shop.get("/trend", search="nothing of the kind").json()["data"]["points"] == []


def test_another_projects_runs_are_in_no_group_and_no_trend(tracking, shop, study):
    tag, _ = study
    search = tracking.client("search")
    assert groups(search, tags=tag, by="config.depth")["groups"] == []
    assert search.get("/trend", tags=tag).json()["data"]["points"] == []
    assert search.get("/groups", by="tag", projectId="shop").status_code == 404
    assert search.get("/trend", projectId="shop").status_code == 404


def test_runs_are_compared_by_the_keys_that_differ_alone(shop, tracking):
    tag = f"compare-{uuid.uuid4().hex[:8]}"
    configs = [{"a": {"b": number % 2, "c": [1]}, "d": 1} for number in range(120)]
    configs[0]["only"] = None
    runs = [complete(shop, number, tags=[tag], config=config) for number, config in enumerate(configs)]
    found = shop.get("/compare", tags=tag).json()["data"]
    assert [run["id"] for run in found["runs"]] == [run["id"] for run in reversed(runs)]
    (parity, only) = found["differing"]
    assert (parity["key"], parity["values"]) == ("a.b", [number % 2 for number in reversed(range(120))])
    assert (only["key"], only["isSet"]) == ("only", [False] * 119 + [True])
    assert (found["same"], found["unread"]) == (2, 0)
    named = shop.get("/compare", run=[runs[5]["id"], runs[3]["id"]]).json()["data"]
    assert [run["finalScore"] for run in named["runs"]] == [5, 3] and named["differing"] == []
    assert tracking.client("search").get("/compare", run=runs[0]["id"]).status_code == 404
    assert shop.get("/compare", run=[str(uuid.uuid4())] * 201).status_code == 422


def test_a_config_that_is_too_long_is_not_compared(shop):
    tag = f"long-{uuid.uuid4().hex[:8]}"
    long = {f"key {number}": uuid.uuid4().hex for number in range(2000)}
    complete(shop, 1, tags=[tag], config=long)
    complete(shop, 2, tags=[tag], config={"a": 1})
    found = shop.get("/compare", tags=tag).json()["data"]
    assert (found["unread"], [one["key"] for one in found["differing"]]) == (1, ["a"])
