"""Several callers that change the same run."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.conninfo import make_conninfo
from servers.http import open_client
from servers.tracking import ProjectClient, serving

from optimization_tracking.app import create_app
from optimizer.names import TRACKING_PREFIX

WRITERS = 80


def test_concurrent_changes_of_metadata_keep_every_key(shop):
    run = shop.create_run(metadata={"by": "me"})
    path = f"/runs/{run['id']}"
    with ThreadPoolExecutor(16) as threads:
        changes = [{"metadata": {f"key{number}": number}} for number in range(WRITERS)]
        statuses = {answer.status_code for answer in threads.map(lambda change: shop.patch(path, change), changes)}
    assert statuses == {200}
    assert shop.get(path).json()["data"]["metadata"] == {"by": "me"} | {f"key{n}": n for n in range(WRITERS)}


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1, None]}, {"a": [1, None]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
    ids=str,
)
def test_metadata_are_changed_by_the_rules_of_rfc_7396(shop, before, patch, after):
    run = shop.create_run(metadata=before)
    assert shop.patch(f"/runs/{run['id']}", {"metadata": patch}).json()["data"]["metadata"] == after


def test_metadata_cannot_grow_beyond_their_bound_by_many_changes(shop):
    run = shop.create_run(metadata={f"a{number}": 0 for number in range(6000)})
    answer = shop.patch(f"/runs/{run['id']}", {"metadata": {f"b{number}": 0 for number in range(6000)}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata")
    assert len(shop.get(f"/runs/{run['id']}").json()["data"]["metadata"]) == 6000


def test_a_change_of_a_stale_version_is_refused_and_of_the_current_one_taken(shop):
    path = f"/runs/{shop.create_run()['id']}"
    seen = shop.get(path).headers["ETag"]
    changed = shop.request("PATCH", path, json={"runName": "first"}, headers={"If-Match": seen})
    assert changed.status_code == 200
    refused = shop.request("PATCH", path, json={"runName": "second"}, headers={"If-Match": seen})
    assert (refused.status_code, refused.headers["Content-Type"]) == (412, "application/problem+json")
    assert shop.get(path).json()["data"]["runName"] == "first"
    assert shop.get(path).headers["ETag"] == changed.headers["ETag"] != seen
    either = f',"odd", ,{seen}, W/{changed.headers["ETag"]},'
    assert shop.request("PATCH", path, json={"runName": "third"}, headers={"If-Match": either}).status_code == 200
    assert shop.request("PATCH", path, json={"runName": "last"}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("header", ["", ",", ", ,", "unquoted", '"half', '"a" "b"', "*, *", 'w/"a"'])
def test_an_if_match_that_cannot_be_read_is_refused_as_such(shop, header):
    path = f"/runs/{shop.create_run()['id']}"
    for method, options in (("PATCH", {"json": {"runName": "b"}}), ("DELETE", {})):
        answer = shop.request(method, path, headers={"If-Match": header}, **options)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "If-Match")
    assert shop.get(path).json()["data"]["runName"] == "a run"


def test_versions_may_stand_in_several_headers_and_of_others_none_matches(shop):
    path = f"/runs/{shop.create_run()['id']}"
    seen = shop.get(path).headers["ETag"]
    for other in ('"-1"', '"0x1"', f'"+{seen[1:]}', f'" {seen[1:]}', '"' + "f" * 16 + '"', '"' + "f" * 900 + '"'):
        answer = shop.request("PATCH", path, json={"runName": "b"}, headers={"If-Match": other})
        assert answer.status_code == 412
    headers = [("X-API-Key", shop.key), ("If-Match", '"odd"'), ("If-Match", seen)]
    assert shop.http.patch(path, json={"runName": "b"}, headers=headers).status_code == 200


def test_iterations_make_the_version_that_was_read_before_them_stale(shop):
    run = shop.create_run()
    path = f"/runs/{run['id']}"
    seen = shop.get(path).headers["ETag"]
    shop.add_iteration(run["id"], iteration=0, score=1)
    assert shop.request("DELETE", path, headers={"If-Match": seen}).status_code == 412
    assert shop.request("DELETE", path, headers={"If-Match": shop.get(path).headers["ETag"]}).status_code == 200
    assert shop.request("DELETE", path, headers={"If-Match": seen}).status_code == 404


def test_of_many_changes_of_one_version_exactly_one_is_taken(shop):
    path = f"/runs/{shop.create_run()['id']}"
    headers = {"If-Match": shop.get(path).headers["ETag"]}
    with ThreadPoolExecutor(16) as threads:
        answers = threads.map(
            lambda n: shop.request("PATCH", path, json={"runName": f"r{n}"}, headers=headers), range(16)
        )
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * 15


def test_a_write_that_waits_too_long_says_so_and_writes_nothing(tracking, shop):
    run = shop.create_run()
    path, key = f"/runs/{run['id']}/iterations/batch", {"Idempotency-Key": str(uuid.uuid4())}
    hasty = make_conninfo(tracking.database_url, options="-c statement_timeout=100")
    app = create_app(database_url=hasty, prefix=TRACKING_PREFIX, refresh_s=None)
    with serving(app) as address, open_client(address + TRACKING_PREFIX) as http:
        impatient = ProjectClient(http, shop.key)
        with tracking.connect() as holding:
            holding.execute("SET ROLE optimization_service")
            holding.execute("SELECT FROM optimization_runs WHERE id = %s FOR UPDATE", [run["id"]])
            answers = [impatient.post(path, {"iterations": [{"iteration": 1}]}, **headers) for headers in ({}, key)]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert "too long" in answers[0].json()["detail"] and answers[0].headers["Retry-After"]
        assert shop.get(f"/runs/{run['id']}").json()["data"]["iterationsStored"] == 0
        assert impatient.post(path, {"iterations": [{"iteration": 1}]}, **key).status_code == 201
