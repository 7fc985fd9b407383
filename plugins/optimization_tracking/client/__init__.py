"""The client of the tracking API; it needs httpx, pydantic and tenacity, and nothing of the service.

track_run            a run to log into, in the background and safe on disk (run_log.py)
TrackingClient       one request a method (blocking.py); AsyncTrackingClient awaits them (asynchronous.py)
ClientSettings       address, key and queue, from the environment (settings.py)

calls.py holds the requests that both clients send, plain_values.py reads what NumPy made. What is logged goes from
run_log.py through disk_queue.py and delivery.py to the service, in the thread of sender.py; abandoned.py finds what a
process left behind.
"""

from optimization_tracking.client.asynchronous import AsyncTrackingClient
from optimization_tracking.client.blocking import TrackingClient
from optimization_tracking.client.run_log import LogReport, RunLog, track_run
from optimization_tracking.client.settings import ClientSettings, is_configured

__all__ = [
    "AsyncTrackingClient",
    "ClientSettings",
    "LogReport",
    "RunLog",
    "TrackingClient",
    "is_configured",
    "track_run",
]
