"""Bad requests: each is refused with its field and reason, and nothing is written."""

import json
import uuid

import pytest

from optimization_tracking.cursors import write_cursor

RUN = {"runName": "r", "optimizerType": "rtb"}


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"run_name": "x"}, "run_name", "not a field"),
        ({"surprise": 1}, "surprise", "not a field"),
        ({"runName": ""}, "runName", "at least 1"),
        ({"runName": "x" * 256}, "runName", "at most 255"),
        ({"runName": None}, "runName", "string"),
        ({"initialScore": "0.5"}, "initialScore", "number"),
        ({"initialScore": True}, "initialScore", "number"),
        ({"initialScore": 1e101}, "initialScore", "less than or equal"),
        ({"iterations": 2**31}, "iterations", "less than or equal"),
        ({"totalTokens": 2**63}, "totalTokens", "less than or equal"),
        ({"totalTokens": 1.5}, "totalTokens", "integer"),
        ({"status": "done"}, "status", "'completed'"),
        ({"startTime": 1700000000}, "startTime", "date and time"),
        ({"startTime": "2026-01-01T00:00:00"}, "startTime", "timezone"),
        ({"startTime": "9999-12-31T23:59:59-10:00"}, "startTime", "years 1 to 9999"),
        ({"optimizerType": "Bad Type"}, "optimizerType", "pattern"),
        ({"tags": ["a"] * 51}, "tags", "at most 50"),
        ({"tags": [1]}, "tags.0", "string"),
        ({"config": []}, "config", "must be a JSON object"),
        ({"tags": {}}, "tags", "must be a JSON array"),
        ({"metric": "a\x00"}, "metric", "NUL"),
        ({"x" * 1000: 1}, "x" * 200, "not a field"),
        ({"config": deep(33)}, "config", "deeper than 32"),
        ({"config": {str(number): 1 for number in range(10_001)}}, "config", "more than 10,000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_value_is_refused_with_its_field_and_reason(shop, change, field, reason):
    answer = shop.post("/runs", RUN | change)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert reason in answer.text


@pytest.mark.parametrize(
    ("text", "status", "field"),
    [
        ('{"runName": "r", "optimizerType": "rtb", "initialScore": NaN}', 422, "initialScore"),
        ('{"runName": "r", "optimizerType": "rtb", "initialScore": 1e999}', 422, "initialScore"),
        ('{"runName": "r", "optimizerType": "rtb", "config": {"a": [NaN]}}', 422, "config"),
        ('{"runName": "r", "optimizerType": "rtb", "config": {"a": -Infinity}}', 422, "config"),
        (r'{"runName": "a\u0000b", "optimizerType": "rtb"}', 422, "runName"),
        (r'{"runName": "a\ud800b", "optimizerType": "rtb"}', 422, "runName"),
        (r'{"runName": "r", "optimizerType": "rtb", "config": {"a\u0000": 1}}', 422, "config"),
        (r'{"runName": "r", "optimizerType": "rtb", "config": {"a": "\udfff"}}', 422, "config"),
        ("[]", 422, "body"),
        ("{", 400, "body"),
        ('{"runName": "r"} x', 400, "body"),
        ("[" * 100_000, 400, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_json_that_cannot_be_stored_is_refused(shop, text, status, field):
    headers = {"Content-Type": "application/json"}
    answer = shop.request("POST", "/runs", content=text.encode(), headers=headers)
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/runs?search=%ff", "search"),
        ("/runs?limit=1&runName=a%C3", "runName"),
        ("/runs?tags=a&tags=%ed%a0%80", "tags"),
        ("/runs?config=%7B%22a%22:%22%ff%22%7D", "config"),
        ("/runs?n%ff=1", "n\ufffd"),
        ("/runs?metric=%ff", "metric"),
        ("/groups?by=name&namePattern=%7B%7D%ff", "namePattern"),
        ("/compare?search=%ff", "search"),
        ("/trend?figure=%ff", "figure"),
        ("/analytics?optimizerType=%ff", "optimizerType"),
        ("/projects?cursor=%ff", "cursor"),
        ("/runs/%ff", "runId"),
        ("/runs/{run}/iterations/%ff", "iteration"),
        ("/runs/{run}/leases/%ff", "owner"),
        ("/runs/{run}?includeIterations=%ff", "includeIterations"),
    ],
)
def test_an_address_that_is_not_utf_8_is_refused_with_the_parameter(shop, path, field):
    method = "DELETE" if "/leases/" in path else "GET"
    answer = shop.request(method, path.replace("{run}", shop.create_run()["id"]))
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert answer.json()["errors"][0]["reason"].startswith("is not UTF-8")


def test_an_address_in_utf_8_finds_what_it_names(shop):
    name = "é\u20ac\U0001f600 \ufffd %ff"
    shop.create_run(runName=name)
    assert shop.get("/runs", runName=name).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused_announced_or_not(shop, announced):
    body = json.dumps(RUN | {"errorMessage": "x" * 5_000_000}).encode()
    content = body if announced else iter([body[:3_000_000], body[3_000_000:]])
    answer = shop.request("POST", "/runs", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["title"]) == (413, "Request Entity Too Large")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10**30}, "offset"),
        ({"orderBy": "password"}, "orderBy"),
        ({"minScore": "nan"}, "minScore"),
        ({"config": "{"}, "config"),
        ({"config": "[1]"}, "config"),
        ({"config": '{"a": NaN}'}, "config"),
        ({"search": "a\x00"}, "search"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"cursor": "eyJhIjoxfQ"}, "cursor"),
        ({"status": "done"}, "status.0"),
        ({"surprise": "1"}, "surprise"),
    ],
    ids=str,
)
def test_a_wrong_query_is_refused_with_its_field(shop, query, field):
    answer = shop.get("/runs", **query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_a_cursor_of_another_order_has_no_place_in_this_one(shop):
    for _ in range(2):
        shop.create_run()
    cursor = shop.get("/runs", limit=1).json()["pagination"]["nextCursor"]
    answer = shop.get("/runs", limit=1, cursor=cursor, orderBy="final_score")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("path", "order", "place"),
    [
        ("iterations", "iteration.asc", [True]),
        ("iterations", "iteration.asc", [10**400]),
        ("iterations", "iteration.asc", [-(2**60)]),
        ("samples", "sample.asc", [1, True, 0]),
        ("samples", "sample.asc", [1, 2**63, 0]),
        ("leases", "list_leases", ["\x00"]),
        ("leases", "list_leases", ["\ud800"]),
    ],
)
def test_a_forged_cursor_is_refused_as_a_cursor(shop, path, order, place):
    run = shop.create_run()
    answer = shop.get(f"/runs/{run['id']}/{path}", cursor=write_cursor(order, place))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize("value", [True, 10**400, 1e999, "1", [1]], ids=str)
def test_a_forged_cursor_of_a_list_is_refused_as_a_cursor(shop, value):
    cursor = write_cursor("final_score.desc", [value, str(uuid.uuid4()), None])
    answer = shop.get("/runs", orderBy="final_score", cursor=cursor)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"runName": "r", "optimizerType": "rtb", "runName": "s"}', "runName"),
        ('{"runName": "r", "optimizerType": "rtb", "config": {"a": {"depth": 1, "depth": 2}}}', "depth"),
    ],
)
def test_a_name_that_stands_twice_in_an_object_is_refused(shop, text, field):
    answer = shop.request("POST", "/runs", content=text.encode(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        [{"field": field, "reason": "stands twice in one object"}],
    )
    answer = shop.get("/runs", config='{"depth": 1, "depth": 2}')
    assert answer.status_code == 422 and "stands twice" in answer.text


def test_a_body_in_another_encoding_is_refused_with_the_place(shop):
    body = '{"runName": "caf\u00e9", "optimizerType": "rtb"}'.encode("cp1252")
    answer = shop.request("POST", "/runs", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["reason"]) == (
        400,
        "is not UTF-8 at byte 16; encode it as UTF-8",
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_another_unicode_encoding_is_refused_with_what_to_do(shop, encoding):
    body = json.dumps(RUN).encode(encoding)
    answer = shop.request("POST", "/runs", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "encode it as UTF-8" in answer.json()["errors"][0]["reason"]) == (400, True)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("Content-Encoding", value) for value in ("gzip", "deflate", "br", "GZIP, identity")),
        *(("Content-Type", value) for value in ("", "text/plain", "application/x-ndjson", "multipart/form-data")),
    ],
)
def test_a_body_that_is_packed_or_not_json_is_refused_with_its_header(shop, header, value):
    headers = {"Content-Type": "application/json", header: value}
    answer = shop.request("POST", "/runs", content=json.dumps(RUN).encode(), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (415, header)
    assert value in answer.json()["detail"] and "JSON" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.runs+json", "APPLICATION/JSON"])
def test_every_spelling_of_the_json_type_is_taken(shop, kind):
    headers = {"Content-Type": kind, "Content-Encoding": "identity"}
    assert shop.request("POST", "/runs", content=json.dumps(RUN).encode(), headers=headers).status_code == 201


@pytest.mark.parametrize("path", ["/runs?search=a&search=b", "/runs?limit=1&%6cimit=1", "/groups?by=tag&by=type"])
def test_a_field_of_the_query_that_stands_twice_is_refused_unless_it_is_a_list(shop, path):
    field = path.partition("?")[2].partition("=")[0]
    answer = shop.request("GET", path)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert shop.request("GET", "/runs?tags=a&tags=b&status=failed&status=running").status_code == 200


def test_an_unknown_path_and_an_unknown_method_say_what_there_is(shop):
    answer = shop.get("/nothing%0Ahere")
    assert (answer.status_code, answer.json()["instance"][-14:]) == (404, "nothing%0Ahere")
    assert "openapi.json" in answer.json()["detail"]
    answer = shop.request("PUT", "/runs")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert "GET, POST" in answer.json()["detail"]


def test_a_duplicate_iteration_or_sample_is_a_conflict_and_its_whole_batch_is_not_written(shop):
    path = f"/runs/{shop.create_run()['id']}"
    shop.post(f"{path}/iterations", {"iteration": 1})
    answer = shop.post(f"{path}/iterations/batch", {"iterations": [{"iteration": 0}, {"iteration": 1}]})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "iteration")
    assert shop.get(f"{path}/iterations").json()["pagination"]["total"] == 1
    twice = {"samples": [{"iteration": 1, "sampleIndex": 4}] * 2}
    answer = shop.post(f"{path}/samples", twice)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "sampleIndex")
    assert shop.get(f"{path}/samples").json()["data"] == []


def test_samples_of_a_missing_iteration_are_named_and_none_is_written(shop):
    path = f"/runs/{shop.create_run()['id']}"
    shop.post(f"{path}/iterations", {"iteration": 1})
    samples = [{"iteration": 1, "sampleIndex": 0}, {"iteration": 8, "sampleIndex": 0}]
    samples += [{"iteration": 1, "sampleIndex": 1, "iterationId": str(uuid.uuid4())}]
    answer = shop.post(f"{path}/samples", {"samples": samples})
    fields = [error["field"] for error in answer.json()["errors"]]
    assert (answer.status_code, fields) == (422, ["samples.1.iteration", "samples.2.iterationId"])
    assert shop.get(f"{path}/samples").json()["data"] == []


def test_a_start_after_the_stored_end_is_refused_by_the_database_itself(shop):
    run = shop.create_run(startTime="2026-01-01T00:00:00Z", endTime="2026-01-02T00:00:00Z")
    answer = shop.patch(f"/runs/{run['id']}", {"startTime": "2026-01-03T00:00:00Z"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "endTime")


def test_sums_beyond_what_can_be_stored_are_refused_and_nothing_changes(shop):
    run = shop.create_run()
    rows = [{"iteration": number, "tokensUsed": 2**53 - 1} for number in range(1000)]
    assert shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": rows}).status_code == 201
    more = [row | {"iteration": row["iteration"] + 1000} for row in rows]
    assert shop.post(f"/runs/{run['id']}/iterations/batch", {"iterations": more}).status_code == 422
    assert shop.get(f"/runs/{run['id']}").json()["data"]["iterations"] == 1000
