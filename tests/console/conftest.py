"""A client with two real runs that share the traffic of a simulated market for some days, and its console."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, HTTPException, Request
from pipeline.driver import ENTITY, NOW, Pipeline
from pipeline.first_run import FinishedRun, connect, first_run, log, new_pipeline, world
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from servers.embedded import connect_schema, load_events, systems
from servers.http import open_client
from servers.tracking import serving

from lab.market.auctions import Requests, draw_requests
from lab.market.events import serve
from lab.market.policies import BidTablePolicy
from lab.market.published import read_bid_table
from lab.market.tables import concat_events
from lab.market.world import World
from lab.stack import LocalStack
from optimizer.console.access import Visitor
from optimizer.console.app import create_app
from optimizer.console.context import Schedule, TaskTime
from optimizer.control_plane import deployments
from optimizer.control_plane.audit import Author
from optimizer.deployment.monitor import monitor_entity
from optimizer.names import CONSOLE_PREFIX
from optimizer.runs.handle import RunHandle
from optimizer.runs.systems import Systems

__all__ = ["connect", "first_run", "log", "new_pipeline", "systems", "world"]

LIVE_DAYS, BIDS_A_DAY, TRIED_PCT = 8, 4_000, 20
FIRST_LIVE_DAY = NOW.date()
SECOND_RUN_AT = NOW + timedelta(hours=1)
TODAY = datetime(2026, 2, 12, 2, 30, tzinfo=UTC)
"""The morning that the pages are seen on, after the monitor has looked."""


@dataclass(frozen=True)
class Business:
    """A client's systems, its first run (live on four fifths), and its second one (tried on a fifth)."""

    systems: Systems
    first: RunHandle
    second: RunHandle


@pytest.fixture(scope="session")
def business(
    new_pipeline: Callable[..., Pipeline],
    first_run: FinishedRun,
    world: World,
    systems: LocalStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Business:
    """Return what the pages show; tests that change it take `own_business`."""
    pipeline = new_pipeline(copy_of=first_run.pipeline)
    second = pipeline.complete("second", now=SECOND_RUN_AT, target_win_rate=0.33)
    deployments.deploy(
        pipeline.systems.engine,
        entity_code=ENTITY,
        split={first_run.handle.run_id: 100 - TRIED_PCT, second.run_id: TRIED_PCT},
        author=Author("anna", comment="try a higher target"),
        now=SECOND_RUN_AT + timedelta(hours=1),
    )
    served = [_served(pipeline, handle, tmp_path_factory) for handle in (first_run.handle, second)]
    count = LIVE_DAYS * BIDS_A_DAY
    requests = draw_requests(world, start_day=FIRST_LIVE_DAY, days=LIVE_DAYS, count=count, seed=3)
    is_tried = np.random.default_rng(3).random(len(requests)) < TRIED_PCT / 100
    events = concat_events(
        serve(world, _pick(requests, chosen), policy=policy)
        for chosen, policy in zip((~is_tried, is_tried), served, strict=True)
    )
    with connect_schema(systems, "console") as connection:
        load_events(connection, events, folder=tmp_path_factory.mktemp("live"))
    found = replace(pipeline.systems, connect_warehouse=lambda: connect_schema(systems, "console"))
    monitor_entity(ENTITY, systems=found, now=TODAY)
    return Business(found, first_run.handle, second)


def _served(pipeline: Pipeline, handle: RunHandle, folders: pytest.TempPathFactory) -> BidTablePolicy:
    folder, store = folders.mktemp("served"), pipeline.systems.store
    for key in store.list_keys(handle.output_uri):
        name = key.rsplit("/", 1)[-1]
        store.get_file(handle.output_uri + name, folder / name)
    return read_bid_table(folder)


def _pick(requests: Requests, chosen: np.ndarray) -> Requests:
    return Requests(*(getattr(requests, name)[chosen] for name in Requests.__dataclass_fields__))


@dataclass
class KnownSchedules:
    """The schedules of the DAGs as a test sets them."""

    known: dict[str, Schedule] = field(default_factory=dict)
    tasks: dict[tuple[str, str], list[TaskTime]] = field(default_factory=dict)

    def schedules(self, entity_codes: Collection[str]) -> Mapping[str, Schedule]:
        return {code: self.known[code] for code in entity_codes if code in self.known}

    def task_times(self, dag_id: str, dag_run_id: str) -> Sequence[TaskTime]:
        return self.tasks.get((dag_id, dag_run_id), [])


DESKTOP = {"width": 1440, "height": 900}
USER_HEADER = "X-Test-User"
RIGHTS = {
    "anna": (None, None),
    "viewer": (None, ()),
    "stranger": ((), ()),
    "other": (("rx_web",), ("rx_web",)),
}
"""{user: the clients that they may read, and may change}; None: all."""


async def log_in(request: Request) -> Visitor:
    """Sign in the user that the header names."""
    name = request.headers.get(USER_HEADER)
    if name not in RIGHTS:
        raise HTTPException(401, "not signed in")
    readable, writable = RIGHTS[name]
    return Visitor(name, readable=_among(readable), writable=_among(writable))


def _among(allowed: Collection[str] | None) -> Callable[[Collection[str]], set[str]]:
    return lambda codes: {code for code in codes if allowed is None or code in allowed}


@dataclass
class Console:
    """A served console."""

    address: str
    business: Business
    schedules: KnownSchedules

    def http(self, user: str | None = "anna") -> httpx.Client:
        headers = {"Origin": self.address.removesuffix(CONSOLE_PREFIX)}
        headers |= {} if user is None else {USER_HEADER: user}
        return open_client(self.address, headers=headers)


@contextmanager
def serve_console(business: Business) -> Iterator[Console]:
    """Serve a console of these systems, mounted as Airflow mounts it, until the block ends."""
    schedules = KnownSchedules()
    app = create_app(
        connect=lambda: business.systems,
        login=log_in,
        scheduler=schedules,
        mounted_at=CONSOLE_PREFIX,
        clock=lambda: TODAY,
    )
    host = FastAPI()
    host.mount(CONSOLE_PREFIX, app)
    with serving(host) as address:
        yield Console(address + CONSOLE_PREFIX, business, schedules)


@pytest.fixture(scope="session")
def console(business: Business) -> Iterator[Console]:
    """Return the console of the client with a history; tests change nothing through it."""
    with serve_console(business) as served:
        yield served


@pytest.fixture
def own_console(business: Business, new_pipeline: Callable[..., Pipeline]) -> Iterator[Console]:
    """Return a console on a copy of the control plane, for a test that changes it."""
    copy = new_pipeline(copy_of=Pipeline(business.systems)).systems.engine
    with serve_console(replace(business, systems=replace(business.systems, engine=copy))) as served:
        yield served


@dataclass
class Watched:
    """A browser's context and what its pages did."""

    context: BrowserContext
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, console: Console, path: str = "/") -> Page:
        """Return a new tab at a page of the console."""
        page = self.new_tab()
        page.goto(console.address + path)
        return page

    def new_tab(self) -> Page:
        """Return an empty tab."""
        page = self.context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self._note)
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        return page

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            self.faults.append(message.text)


@pytest.fixture
def open_browser(chromium: Browser) -> Iterator[Callable[..., Watched]]:
    """Give a function that opens a signed-in browser; at the end, no page did what it must not."""
    opened: list[Watched] = []

    def open_one(user: str = "anna", **options: Any) -> Watched:
        context = chromium.new_context(**{"viewport": DESKTOP, **options}, extra_http_headers={USER_HEADER: user})
        context.set_default_timeout(10_000)
        opened.append(Watched(context))
        return opened[-1]

    yield open_one
    for one in opened:
        one.context.close()
        assert [url for url in one.requests if not url.startswith("http://127.0.0.1:")] == []
        assert one.requests and one.faults == []


@pytest.fixture
def browser(open_browser: Callable[..., Watched]) -> Watched:
    """Return anna's browser on a desktop."""
    return open_browser()
