"""The judgement of an auction log as text and tables for the terminal."""

from rich.console import Console
from rich.table import Table

from lab.evaluation.log_judgement import CURVE_SHARES, TARGET_WIN_RATE, LogJudgement


def print_judgement(judgement: LogJudgement, *, console: Console) -> None:
    """Print the figures, the curves where they can be judged, and the verdict."""
    console.print(
        f"{judgement.name}: learned from {judgement.train_rows:,} auctions, judged on the {judgement.test_rows:,} from "
        f"{judgement.test_from:%Y-%m-%d %H:%M} on",
        f"features: {', '.join(judgement.features)}",
        f"segments of the optimizer: {', '.join(judgement.segment_features)}",
        sep="\n",
        markup=False,
        highlight=False,
    )
    console.print(_figures_table(judgement))
    console.print("An AFT with log-logistic errors on won or lost is the logit in log bid: see there.", highlight=False)
    if judgement.market is not None:
        console.print(_curves_table(judgement))
        console.print(_outcomes_table(judgement))
    console.print(judgement.verdict, markup=False, highlight=False)


def _figures_table(judgement: LogJudgement) -> Table:
    table = Table("method", title="On later auctions", title_justify="left")
    for column in ("AUC", "log loss", "ECE", "landscape error"):
        table.add_column(column, justify="right")
    for figures in judgement.methods:
        error = "-" if figures.landscape_error is None else f"{figures.landscape_error:.4f}"
        table.add_row(figures.method, f"{figures.auc:.4f}", f"{figures.log_loss:.4f}", f"{figures.ece:.4f}", error)
    return table


def _curves_table(judgement: LogJudgement) -> Table:
    table = Table(title="Win rate at multiples of the bids made", title_justify="left")
    columns = {"market": judgement.market} | {figures.method: figures.curve for figures in judgement.methods}
    for column in ("times the bid", *columns):
        table.add_column(column, justify="right")
    for share, *won in zip(CURVE_SHARES, *columns.values(), strict=True):
        table.add_row(f"{share:g}", *(f"{rate:.3f}" for rate in won))
    return table


def _outcomes_table(judgement: LogJudgement) -> Table:
    title = f"Bids for a win rate of {TARGET_WIN_RATE:g}, at first price"
    table = Table("bids", title=title, title_justify="left")
    for column in ("win rate", "CPM", "one flat bid that wins as many", "held"):
        table.add_column(column, justify="right")
    for made in judgement.outcomes:
        held = f"{made.held_share:.0%}"
        table.add_row(made.name, f"{made.win_rate:.3f}", f"{made.cpm:.2f}", f"{made.flat_cpm:.2f}", held)
    return table
