"""The bidder as a server: one process, or several workers on one port."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from optimizer.bidder.listening import STOP_S, create_server
from optimizer.bidder.openrtb.settings import open_openrtb
from optimizer.bidder.service import BidderService
from optimizer.bidder.settings import BidderSettings, connect, count_writer
from optimizer.bidder.web import create_app
from optimizer.bidder.worker_reports import WorkerReports
from optimizer.bidder.workers import Workers, open_sockets
from optimizer.errors import ConfigError

MOST_WORKERS = 128


def serve_alone(settings: BidderSettings, *, host: str, port: int) -> None:
    """Answer in this process until SIGTERM."""
    service, openrtb = _make_service(settings), open_openrtb(settings)
    create_server(
        create_app(service, openrtb=openrtb),
        host=host,
        port=port,
        drain_s=settings.drain_s,
        on_stop=service.stop_soon,
        on_timeout=lambda: service.count_refused("408"),
    ).run()


def serve_with_workers(settings: BidderSettings, *, host: str, port: int, workers: int) -> None:
    """Answer in that many processes until SIGTERM.

    Raises:
        ConfigError: a file that the settings name cannot be read, or the port is taken.
    """
    open_openrtb(settings)
    try:
        for probe in open_sockets(host, port, is_shared=False):
            probe.close()
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror}; choose another port") from error
    with TemporaryDirectory(prefix="optimizer-bidder-") as folder:
        work = partial(_work, settings, host, port, Path(folder))
        Workers(work, number=workers, stop_s=settings.drain_s + STOP_S).run()


def _work(settings: BidderSettings, host: str, port: int, folder: Path, worker: int, is_replacement: bool) -> None:
    service = _make_service(settings)
    reports = WorkerReports(folder, worker=worker, health=service.health, measure=service.measure)
    create_server(
        create_app(service, openrtb=open_openrtb(settings), reports=reports, is_replacement=is_replacement),
        host=host,
        port=port,
        drain_s=settings.drain_s,
        on_stop=service.stop_soon,
        on_timeout=lambda: service.count_refused("408"),
    ).run(open_sockets(host, port, is_shared=True))


def _make_service(settings: BidderSettings) -> BidderService:
    return BidderService(
        connect(settings),
        interval_s=settings.interval_s,
        write_counts=count_writer(settings, started_at=datetime.now(UTC)),
        max_age_s=settings.max_age_s,
    )
