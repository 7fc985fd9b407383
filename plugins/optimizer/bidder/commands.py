"""The commands of `python -m optimizer.bidder`: serve bids, price one request, or refresh once."""

import json
import logging
import sys
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from optimizer.bidder.openrtb import OpenRtb, read_mapping
from optimizer.bidder.refreshing import Refresher, RefreshReport, require_success
from optimizer.bidder.service import BidderService
from optimizer.bidder.settings import connect, read_settings
from optimizer.bidder.web import create_app, read_price_body
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
) -> None:
    """Answer bid requests over HTTP and refresh in the background."""
    settings = read_settings()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    is_remote = settings.memcached is not None
    service = BidderService(connect(settings), interval_s=settings.interval_s, is_remote=is_remote)
    openrtb = OpenRtb(read_mapping(settings.openrtb_file), currency=settings.currency)
    # A line for each request would cost more than its price, and hold ids of people.
    uvicorn.run(create_app(service, openrtb=openrtb), host=host, port=port, access_log=False, log_config=None)


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
