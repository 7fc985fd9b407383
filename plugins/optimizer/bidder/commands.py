"""The commands of `python -m optimizer.bidder`: serve bids, price one request, refresh once, write test vectors."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from optimizer.bidder.macro_requests import read_price_body
from optimizer.bidder.refreshing import Refresher, RefreshReport, require_success
from optimizer.bidder.service import BidderService
from optimizer.bidder.serving import MOST_WORKERS, serve_alone, serve_with_workers
from optimizer.bidder.settings import connect, read_settings
from optimizer.bidder.vectors import OBJECTS, VECTORS, write_vectors
from optimizer.presentation.commands import reporting_errors

app = typer.Typer(
    help="What to bid on one request, from the runs that are deployed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@reporting_errors
def serve(
    host: Annotated[str, typer.Option(envvar="OPTIMIZER_BIDDER_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="OPTIMIZER_BIDDER_PORT", help="Port to listen on.")] = 8100,
    workers: Annotated[
        int, typer.Option(envvar="OPTIMIZER_BIDDER_WORKERS", min=1, max=MOST_WORKERS, help="Processes on the port.")
    ] = 1,
) -> None:
    """Answer bid requests over HTTP and refresh in the background."""
    settings = read_settings()
    process = "%(process)d " if workers > 1 else ""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s {process}%(name)s %(message)s")
    if workers == 1:
        serve_alone(settings, host=host, port=port)
    else:
        serve_with_workers(settings, host=host, port=port, workers=workers)


@app.command()
@reporting_errors
def price(
    body: Annotated[str, typer.Argument(help="A body of POST /price in JSON, or - to read it from standard input.")],
) -> None:
    """Load what is deployed and print the price of one request, with its parts, as JSON."""
    wanted = read_price_body((sys.stdin.read() if body == "-" else body).encode("utf-8", "surrogatepass"))
    refresher = connect(read_settings())
    require_success(refresher.refresh())
    priced = BidderService(refresher).price(wanted.request(), entity_code=wanted.entity_code)
    typer.echo(json.dumps(priced._asdict(), indent=2))


@app.command()
@reporting_errors
def refresh() -> None:
    """Load what is deployed, into memcached where it is named, and print what is served."""
    refresher = connect(read_settings())
    report = refresher.refresh()
    Console().print(_table(refresher, report))
    require_success(report)


@app.command()
@reporting_errors
def vectors(
    folder: Annotated[Path, typer.Argument(help="A new folder for the objects and vectors.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many vectors.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other vectors.")] = 0,
) -> None:
    """Write made-up requests with their right prices, to test a bidder in another language. Needs no system."""
    write_vectors(folder, count=count, seed=seed)
    typer.echo(f"{count:,} vectors are in {folder / VECTORS}, and the objects they need in {folder / OBJECTS}.")


def _table(refresher: Refresher, report: RefreshReport) -> Table:
    table = Table("entity", "run", "traffic", "keys", "domains", "NPIs", "fallback", "cap", title="What is served")
    for code, generation in refresher.generations.items():
        for run_id, run in generation.runs.items():
            sizes = (f"{len(rows):,}" for rows in (run.bids, run.domain_multipliers, run.npi_multipliers))
            bounds = (f"{amount:.2f}" for amount in (run.fallback_bid_cpm, run.max_bid_cpm))
            table.add_row(code, run_id, f"{generation.percents[run_id]} %", *sizes, *bounds)
    for code in report.not_deployed:
        table.add_row(code, "nothing is deployed")
    return table
