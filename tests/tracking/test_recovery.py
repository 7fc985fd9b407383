"""The service while its Postgres is away, and after it is back."""

from concurrent.futures import ThreadPoolExecutor

from servers.http import open_client
from servers.memory import memory_folder
from servers.postgres import initialize_server, running
from servers.tracking import ProjectClient, serving
from servers.waiting import wait_until

from lab.stack.postgres import embedded_programs
from optimization_tracking.app import create_app
from optimization_tracking.connections import connect
from optimization_tracking.keys import create_key, ensure_project
from optimization_tracking.schema import migrate
from optimizer.names import TRACKING_PREFIX

ATTEMPTS = 12
"""Failed connections: the pool's own waits, doubled each time, would be minutes apart by then."""


def test_a_request_that_waits_when_postgres_comes_back_is_answered(caplog):
    programs = embedded_programs()
    with memory_folder("pg") as folder:
        server = initialize_server(folder, programs=programs)
        with running(server, programs=programs):
            url = server.create_database("tracking")
            migrate(url)
            with connect(url) as connection:
                ensure_project(connection, "shop")
                key, _ = create_key(connection, "shop", name="tests")
        app = create_app(database_url=url, prefix=TRACKING_PREFIX, refresh_s=None)
        with serving(app) as address, open_client(address + TRACKING_PREFIX) as http, ThreadPoolExecutor(8) as threads:
            shop = ProjectClient(http, key)
            wait_until(
                lambda: sum("error connecting" in line for line in caplog.messages) >= ATTEMPTS,
                "Postgres was not asked often enough while it was away",
            )
            waiting = [threads.submit(shop.get, "/projects") for _ in range(8)]
            with running(server, programs=programs):
                assert [answer.result().status_code for answer in waiting] == [200] * 8
            for _ in range(2):  # nobody asks meanwhile: each idle connection is dead
                with running(server, programs=programs):
                    answers = list(threads.map(lambda _: shop.get("/runs"), range(8)))
                assert [answer.status_code for answer in answers] == [200] * 8
