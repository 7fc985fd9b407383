"""One request a method, against the real service: typed answers, pages to the end, refusals with their reason."""

import asyncio
import uuid
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from servers.tracking import Tracking

from optimization_tracking.client import AsyncTrackingClient, ClientSettings, TrackingClient
from optimizer.errors import ConfigError, TrackingRefused, UnavailableError


def test_a_run_goes_through_its_life_as_typed_values(client):
    run = client.create_run("typed", optimizer_type="rtb", config={"depth": 6}, tags=["a"], initial_score=0.25)
    assert (run.status, run.config, run.initial_score) == ("pending", {"depth": 6}, 0.25)
    assert isinstance(run.created_at, datetime) and run.created_at.tzinfo is not None
    assert client.add_iterations(run.id, [{"iteration": 0, "score": 0.5}, {"iteration": 1, "score": 0.75}]) == 2
    samples = [{"iteration": 1, "sample_index": index, "is_correct": index > 0} for index in range(3)]
    assert client.add_samples(run.id, samples) == 3
    ended = client.update_run(run.id, status="completed", final_score=0.75)
    assert (ended.best_score, ended.improvement, ended.iterations) == (0.75, 0.5, 2)
    assert [step.is_best for step in client.iterate_iterations(run.id)] == [False, True]
    assert [sample.sample_index for sample in client.iterate_samples(run.id, is_correct=True)] == [1, 2]
    assert [step.iteration for step in client.read_run(run.id, iteration_limit=1).iteration_list] == [0]
    client.delete_run(run.id)
    with pytest.raises(TrackingRefused, match="404") as gone:
        client.read_run(run.id)
    assert gone.value.status == 404


def test_values_of_numpy_are_sent_as_numbers_and_lists(client):
    run = client.create_run("numpy", optimizer_type="rtb", config={"grid": np.arange(2)}, initial_score=np.float32(0.5))
    assert client.add_iterations(run.id, [{"iteration": np.int64(3), "score": np.float64(0.5)}]) == 1
    assert run.config == {"grid": [0, 1]} and [step.iteration for step in client.iterate_iterations(run.id)] == [3]


def test_every_run_comes_once_however_many_pages_they_take(client):
    tag = f"pages-{uuid.uuid4()}"
    made = {client.create_run(f"run {number}", optimizer_type="rtb", tags=[tag]).id for number in range(5)}
    found = [run.id for run in client.iterate_runs(tags=[tag], limit=2)]
    assert len(found) == 5 and set(found) == made


def test_filters_reach_the_service_in_its_own_words(client):
    tag = f"filters-{uuid.uuid4()}"
    for number in range(3):
        run = client.create_run("one", optimizer_type="rtb", tags=[tag], config={"depth": number}, status="running")
        client.update_run(run.id, status="completed", final_score=number / 2)
    since = datetime(2020, 1, 1, tzinfo=UTC)
    page = client.list_runs(tags=[tag], config={"depth": 1}, status=["completed", "failed"], start_date=since)
    assert [run.config for run in page.data] == [{"depth": 1}] and page.pagination.total == 1
    assert [run.final_score for run in client.top_runs(limit=2, tags=[tag])] == [1.0, 0.5]


def test_asyncio_gets_the_same_answers(settings):
    async def work() -> list[int]:
        async with AsyncTrackingClient(settings) as client:
            run = await client.create_run("awaited", optimizer_type="rtb")
            await client.add_iterations(run.id, [{"iteration": number} for number in range(3)])
            assert (await client.health()).status == "ok"
            assert [project.id for project in await client.list_projects()] == ["shop"]
            with pytest.raises(TrackingRefused, match="is completed and cannot become running"):
                await client.update_run(run.id, status="completed")
                await client.update_run(run.id, status="running")
            return [step.iteration async for step in client.iterate_iterations(run.id)]

    assert asyncio.run(work()) == [0, 1, 2]


def test_each_request_of_asyncio_has_the_answer_of_the_other_client(settings, client):
    name = f"both {uuid.uuid4()}"
    run = client.create_run(name, optimizer_type="rtb", config={"depth": 6}, tags=["a"])
    client.add_iterations(run.id, [{"iteration": number, "score": number / 4} for number in range(3)])
    client.update_run(run.id, status="completed", final_score=0.5)

    async def ask() -> list:
        async with AsyncTrackingClient(settings) as other:
            assert await other.add_samples(run.id, [{"iteration": 2, "sample_index": 0, "score": 1}]) == 1
            return [
                await other.read_run(run.id),
                [one async for one in other.iterate_runs(search=name)],
                (await other.list_runs(search=name)).data,
                await other.top_runs(limit=1, search=name),
                await other.read_iteration(run.id, 2),
                [one async for one in other.iterate_samples(run.id)],
                await other.analytics(),
                await other.group_runs(by="config.depth", search=name),
                await other.read_trend(search=name),
            ]

    async def delete() -> None:
        async with AsyncTrackingClient(settings) as other:
            await other.delete_run(run.id)

    answers = asyncio.run(ask())
    assert [len(answers[place]) for place in (1, 2, 3, 5)] == [1, 1, 1, 1]
    assert answers == [
        client.read_run(run.id),
        list(client.iterate_runs(search=name)),
        client.list_runs(search=name).data,
        client.top_runs(limit=1, search=name),
        client.read_iteration(run.id, 2),
        list(client.iterate_samples(run.id)),
        client.analytics(),
        client.group_runs(by="config.depth", search=name),
        client.read_trend(search=name),
    ]
    asyncio.run(delete())
    with pytest.raises(TrackingRefused, match="404"):
        client.read_run(run.id)


def test_a_repeated_creation_makes_one_run(client):
    key = str(uuid.uuid4())
    first, again = (client.create_run("once", optimizer_type="rtb", idempotency_key=key) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": 3}, "score: Extra inputs are not permitted"),
        ({"initial_score": float("nan")}, "initial_score: Input should be"),
        ({"runName": "x"}, "runName: Extra inputs"),
        ({"config": {"secret": object()}}, "cannot be written as JSON"),
    ],
    ids=["unknown", "nan", "camel_case", "no_json"],
)
def test_wrong_fields_are_refused_by_name_before_anything_is_sent(client, fields, message):
    with pytest.raises(TrackingRefused, match=message) as refused:
        client.create_run("wrong", optimizer_type="rtb", **fields)
    assert refused.value.status is None


def test_a_refusal_names_the_field_and_the_reason_and_never_the_key(client, settings):
    run = client.create_run("twice", optimizer_type="rtb")
    client.add_iterations(run.id, [{"iteration": 1}])
    with pytest.raises(TrackingRefused, match="iteration: this run has an iteration of that number already"):
        client.add_iterations(run.id, [{"iteration": 1}])
    assert settings.key not in repr(settings)


def test_a_key_that_is_not_known_is_refused(tracking: Tracking, tmp_path):
    with (
        TrackingClient(ClientSettings(tracking.base_url, "sk_live_wrong", queue_folder=tmp_path)) as client,
        pytest.raises(TrackingRefused, match="401 the key is unknown, revoked or expired"),
    ):
        client.list_projects()


def test_a_silent_service_is_asked_again_and_then_named(away):
    settings, back = away
    with TrackingClient(settings, attempts=2) as client:
        with pytest.raises(UnavailableError, match=r"at http://127.0.0.1:\d+/api/optimization does not answer"):
            client.list_projects()
        with back():
            assert [project.id for project in client.list_projects()] == ["shop"]


def test_a_service_that_is_busy_is_asked_again_after_the_time_it_names(settings):
    answers = iter([httpx.Response(429, headers={"Retry-After": "0"}), httpx.Response(503), None])

    def answer(request: httpx.Request) -> httpx.Response:
        page = {"total": 0, "limit": 1000, "offset": 0, "hasMore": False, "nextCursor": None}
        return next(answers) or httpx.Response(200, json={"success": True, "data": [], "pagination": page})

    http = httpx.Client(transport=httpx.MockTransport(answer), base_url=settings.base_url)
    assert TrackingClient(settings, http=http).list_projects() == []
    assert next(answers, "none") == "none"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>welcome</html>"),
        httpx.Response(200, json={"success": True}),
        httpx.Response(301, headers={"Location": "https://tracking.example.com/"}),
        httpx.Response(404, text="<html>nothing here</html>"),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(404, json={"title": "Bad Request", "status": 400, "detail": "of another request"}),
        httpx.Response(501, text="<html>not implemented</html>"),
    ],
    ids=["page", "other_json", "redirect", "page_404", "json_404", "other_status", "page_501"],
)
def test_an_answer_of_another_server_is_not_a_refusal_and_names_what_to_check(settings, answer):
    transport = httpx.MockTransport(lambda _: answer)
    client = TrackingClient(settings, attempts=1, http=httpx.Client(transport=transport, base_url=settings.base_url))
    message = f"{answer.status_code} .*the answer is not one of the tracking API; check OPTIMIZER_TRACKING_API_URL"
    with pytest.raises(UnavailableError, match=message):
        client.list_projects()


def test_the_environment_names_the_service_or_the_error_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.delenv("OPTIMIZER_TRACKING_API_URL", raising=False)
    monkeypatch.setenv("OPTIMIZER_TRACKING_KEY", " sk_live_x\n")
    with pytest.raises(ConfigError, match="set OPTIMIZER_TRACKING_API_URL to reach"):
        ClientSettings.from_environment()
    monkeypatch.setenv("OPTIMIZER_TRACKING_API_URL", "https://tracking.example.com/")
    monkeypatch.setenv("OPTIMIZER_TRACKING_QUEUE", str(tmp_path))
    settings = ClientSettings.from_environment()
    assert settings.base_url == "https://tracking.example.com/api/optimization"
    assert (settings.key, settings.queue_folder) == ("sk_live_x", tmp_path)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("tracking.example.com", "tracking.example.com"),
        ("ftp://tracking.example.com", "ftp://tracking.example.com"),
        ("http://", "http://"),
        ("http://:8400", "http://:8400"),
        ("http://[bad", "http://[bad"),
        ("http://host:abc", "http://host:abc"),
        ("http://host:99999", "http://host:99999"),
        ("http://host:0", "http://host:0"),
        ("http://host..name", "http://host..name"),
        ("http://ho st", "http://ho st"),
        ("http://host/a\x01b", r"http://host/a\x01b"),
        ("http://me:sk_live_x@host", "http://…@host"),
        ("http://me:sk_live_x/y@host", "http://…@host"),
        ("sk_live_x", "…"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_by_its_variable_and_without_the_key(address, shown):
    with pytest.raises(ConfigError) as refused:
        ClientSettings(address, "sk_live_x")
    message = str(refused.value)
    assert message.startswith(f"OPTIMIZER_TRACKING_API_URL='{shown}' is not an address of a service")
    assert "set it to one like http://127.0.0.1:8400" in message and "sk_live" not in message


@pytest.mark.parametrize(
    ("address", "base_url"),
    [
        (" https://tracking.example.com/\n", "https://tracking.example.com/api/optimization"),
        ("HTTP://[::1]:8400", "http://[::1]:8400/api/optimization"),
        ("http://tracking_service:8080/airflow/api/", "http://tracking_service:8080/airflow/api"),
        ("http://bücher.example", "http://bücher.example/api/optimization"),
    ],
)
def test_an_address_ends_before_the_runs(address, base_url):
    with TrackingClient(ClientSettings(address, "sk_live_x")) as client:
        assert client.settings.base_url == base_url
