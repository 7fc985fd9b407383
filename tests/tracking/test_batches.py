"""Batches: what is read in one pass means what it means row by row, and is refused for the same reasons."""

import json

import pytest

PLAIN = {"iteration": 0, "score": 0.5, "params": {"rate": 0.1, "deep": {"a": [1, None, True, "x:y"]}}, "program": None}


def post(client, text: str, *, kind: str = "iterations/batch"):
    path = f"/runs/{client.create_run()['id']}/{kind}"
    headers = {"Content-Type": "application/json"}
    return path, client.request("POST", path, content=text.encode(), headers=headers)


@pytest.mark.parametrize(
    "row",
    [
        PLAIN,
        {"iteration": 0},
        {"iteration": 0, "score": -0.0, "metadata": {}, "tokensUsed": None},
        {"iteration": 0, "score": 1e-300, "params": {"small": 1e-5, "smaller": 1e-300, "none": 0.0}},
        {"iteration": 0, "score": 5, "avgScore": 1e100, "params": {"big": 10**300, "float": 1e300}},
        {
            "iteration": 0,
            "params": {"é:\u200b": '\U0001f600: \\u003a " \\', "a\\b": "\n\t"},
            "program": [":", {":": ":"}],
        },
        {"iteration": 0, "samplesInIteration": 5, "successfulSamples": 5, "durationMs": 7, "costUsd": 0},
        {"iteration": 0, "iterationStartTime": "2026-01-01T00:00:00Z", "iterationEndTime": "2026-01-01T02:00:00+01:00"},
        {"iteration": 2**31 - 1, "tokensUsed": 2**53 - 1},
    ],
    ids=lambda row: str(row)[:50],
)
@pytest.mark.parametrize("is_ascii", [True, False], ids=["escaped", "plain"])
def test_a_row_of_a_batch_is_stored_as_the_same_row_alone(shop, row, is_ascii):
    alone = shop.add_iteration(shop.create_run()["id"], **row)
    text = json.dumps({"iterations": [row]}, ensure_ascii=is_ascii, indent=2)
    path, answer = post(shop, text)
    assert answer.status_code == 201, answer.text
    own = dict.fromkeys(("id", "runId", "createdAt"))
    assert answer.json()["data"][0] | own == alone | own
    listed = shop.get(path.removesuffix("/batch")).json()["data"][0]
    assert listed | own == alone | own


def test_a_score_too_small_for_a_double_is_zero(shop):
    for text in ("1e-400", "0." + "0" * 330 + "1", "0." + "0" * 250 + "1e-99"):
        _, answer = post(shop, f'{{"iterations": [{{"iteration": 0, "score": {text}}}]}}')
        assert (answer.status_code, answer.json()["data"][0]["score"]) == (201, 0)


@pytest.mark.parametrize(
    ("rows", "field", "reason"),
    [
        ('{"iteration": 0, "score": 1, "score": 2}', "score", "twice"),
        ('{"iteration": 0, "params": {"a": 1, "a": 2}}', "a", "twice"),
        (r'{"iteration": 0, "params": {"a": "\u003a", "b": 1, "b": 2}}', "b", "twice"),
        (r'{"iteration": 0, "params": {"a": "\u003A", "b": 1, "b": 2}}', "b", "twice"),
        ('{"iteration": 0, "params": {"a": {"b": "x:y"}, "a": {"b": ":", "c": 1}}}', "a", "twice"),
        ('{"iteration": 0}], "iterations": [{"iteration": 1}', "iterations", "twice"),
        ('{"iteration": 0, "surprise": 1}', "iterations.0.surprise", "not a field"),
        ('{"iteration": 0}], "surprise": [1', "surprise", "not a field"),
        ('{"score": 1}', "iterations.0.iteration", "required"),
        ('{"iteration": 0.0}', "iterations.0.iteration", "integer"),
        ('{"iteration": "0"}', "iterations.0.iteration", "integer"),
        ('{"iteration": true}', "iterations.0.iteration", "integer"),
        ('{"iteration": -1}', "iterations.0.iteration", "greater"),
        ('{"iteration": 0, "score": NaN}', "iterations.0.score", "finite"),
        ('{"iteration": 0, "score": 1e999}', "iterations.0.score", ""),
        ('{"iteration": 0, "params": null}', "iterations.0.params", "JSON object"),
        ('{"iteration": 0, "params": []}', "iterations.0.params", "JSON object"),
        ('{"iteration": 0, "params": {"a": NaN}}', "iterations.0.params", "NaN"),
        ('{"iteration": 0, "program": [1e999]}', "iterations.0.program", "NaN"),
        ('{"iteration": 0, "program": ' + "9" * 1001 + "}", "iterations.0.program", "1,000 digits"),
        (r'{"iteration": 0, "program": "a\u0000"}', "iterations.0.program", "NUL"),
        (r'{"iteration": 0, "program": "\ud800"}', "iterations.0.program", "surrogate"),
        (r'{"iteration": 0, "params": {"\udfff": 1}}', "iterations.0.params", "surrogate"),
        ('{"iteration": 0, "program": ' + "[" * 34 + "]" * 34 + "}", "iterations.0.program", "deeper than 32"),
        ('{"iteration": 0, "program": [' + "0," * 10_000 + "0]}", "iterations.0.program", "more than 10,000"),
        ('{"iteration": 0, "samplesInIteration": 1, "successfulSamples": 2}', "iterations.0", "more than"),
        ('{"iteration": 0, "iterationStartTime": "yesterday"}', "iterations.0.iterationStartTime", "date and time"),
        ("", "iterations", "at least 1"),
        ('{"iteration": 0},' * 1000 + '{"iteration": 0}', "iterations", "at most 1000"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_a_row_is_refused_for_a_batch_is_too_and_nothing_is_written(shop, rows, field, reason):
    path, answer = post(shop, f'{{"iterations": [{rows}]}}')
    assert answer.status_code == 422, answer.text
    (error, *_) = answer.json()["errors"]
    assert (error["field"], reason in error["reason"]) == (field, True), error
    assert shop.get(path.removesuffix("/batch")).json()["data"] == []


@pytest.mark.parametrize(
    "text", ["{", '{"iterations": [{"iteration": 0}]} x', '{"iterations": [{"iteration": 01}]}', "[]", "7", '"a"']
)
def test_what_is_no_batch_is_refused(shop, text):
    _, answer = post(shop, text)
    assert answer.status_code in (400, 422)


def test_rows_that_hold_much_together_are_fine_if_each_is(shop):
    rows = [{"iteration": number, "params": {"a": list(range(100))}} for number in range(200)]
    path, answer = post(shop, json.dumps({"iterations": rows}))
    assert (answer.status_code, answer.json()["created"]) == (201, 200)
    rows[150]["params"] = {"a": [0] * 10_000}
    refused = shop.post(path, {"iterations": rows})
    assert refused.json()["errors"][0]["field"] == "iterations.150.params"


def test_samples_of_one_pass_are_the_samples_of_their_models(shop):
    run = shop.create_run()
    path = f"/runs/{run['id']}/samples"
    iteration = shop.add_iteration(run["id"], iteration=3)
    plain = {"iteration": 3, "sampleIndex": 0, "input": {"a": "b:c"}, "predictedOutput": [1, 2.5], "isCorrect": False}
    plain |= {"programHash": "sha:1", "errorMessage": "no: such\nthing", "latencyMs": 1.5, "metadata": {"k": "é:"}}
    by_id = plain | {"sampleIndex": 1, "iterationId": iteration["id"].replace("-", "").upper()}
    one, other = (shop.post(path, {"samples": [row]}).json()["data"][0] for row in (plain, by_id))
    own = dict.fromkeys(("id", "createdAt", "sampleIndex"))
    assert one | own == other | own
    assert {name: one[name] for name in plain} == plain
    refused = shop.post(path, {"samples": [plain | {"iteration": 9}, by_id | {"iterationId": run["id"]}]})
    assert [error["field"] for error in refused.json()["errors"]] == ["samples.0.iteration", "samples.1.iterationId"]
