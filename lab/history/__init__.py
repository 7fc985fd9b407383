"""Weeks of live days in a simulated market: what a client's control plane looks like after some time in production.

    until = date(2026, 11, 29)
    client = create_client(first_day=until - timedelta(days=60))
    load(generate_log(client, until=until - timedelta(days=21)))
    history = replay_history(systems, client, days=21, until=until)

`replaying` goes through the days, `story` says what happens on which of them, `morning_runs` makes a run by the steps
of the product, `bidding` bids on the auctions of a day what the live split published, `client` is the simulated client.
"""

from lab.history.client import ENTITY, VALUES, LiveClient, create_client, generate_log
from lab.history.replaying import History, replay_history, serve_again

__all__ = [
    "ENTITY",
    "VALUES",
    "History",
    "LiveClient",
    "create_client",
    "generate_log",
    "replay_history",
    "serve_again",
]
