"""Leases: a run whose process died is ended for it only where no other process works on it."""

import time

import pytest

END = {"status": "failed", "errorMessage": "its process died", "ifUnowned": True}


def hold(shop, run, owner, **body):
    return shop.request("PUT", f"/runs/{run['id']}/leases/{owner}", json=body)


def test_a_run_is_not_ended_for_the_dead_while_another_process_holds_it(shop):
    run = shop.create_run(status="running")
    assert hold(shop, run, "alive").status_code == 200
    refused = shop.patch(f"/runs/{run['id']}", END)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "ifUnowned")
    assert shop.get(f"/runs/{run['id']}").json()["data"]["status"] == "running"
    shop.delete(f"/runs/{run['id']}/leases/alive")
    assert shop.patch(f"/runs/{run['id']}", END).json()["data"]["status"] == "failed"


def test_a_lease_that_is_not_renewed_ends(shop):
    run = shop.create_run(status="running")
    held = hold(shop, run, "silent", seconds=1).json()["data"]
    assert (held["runId"], held["owner"]) == (run["id"], "silent")
    assert shop.get(f"/runs/{run['id']}/leases").json()["data"] == [held]
    time.sleep(1.1)
    assert shop.get(f"/runs/{run['id']}/leases").json()["data"] == []
    assert shop.patch(f"/runs/{run['id']}", END).json()["data"]["status"] == "failed"


def test_a_renewed_lease_lasts_from_then_on(shop):
    run = shop.create_run(status="running")
    first, second = (hold(shop, run, "me", seconds=seconds).json()["data"]["expiresAt"] for seconds in (1, 3600))
    assert second > first
    time.sleep(1.1)
    assert shop.patch(f"/runs/{run['id']}", END).status_code == 409


def test_a_lease_changes_neither_the_runs_version_nor_who_may_end_it_outright(shop):
    run = shop.create_run(status="running")
    hold(shop, run, "me")
    found = shop.get(f"/runs/{run['id']}").json()["data"]
    assert found["updatedAt"] == run["updatedAt"]
    assert shop.patch(f"/runs/{run['id']}", {"status": "completed"}).status_code == 200


@pytest.mark.parametrize(
    ("owner", "body"), [("a b", {}), ("x" * 101, {}), ("me", {"seconds": 0}), ("me", {"seconds": 3601})], ids=str
)
def test_a_lease_of_a_wrong_owner_or_length_is_refused(shop, owner, body):
    assert hold(shop, shop.create_run(), owner, **body).status_code == 422


def test_a_run_with_leases_can_be_deleted(shop):
    run = shop.create_run()
    hold(shop, run, "me")
    assert shop.delete(f"/runs/{run['id']}").status_code == 200
    assert hold(shop, run, "me").status_code == 404
