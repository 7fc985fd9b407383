"""How figures are shown: what is being measured, then the table and the verdict."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab.benchmarks.figures import Figure

UNITS: dict[str, Callable[[float], str]] = {
    "s": "{:,.4g} s".format,
    "bytes": "{:,.0f} B".format,
    "MiB": "{:,.0f} MiB".format,
    "times": "{:.2f} times".format,
    "points": "{:.3f}".format,
    "call": lambda seconds: f"{seconds * 1e6:,.1f} µs, {1 / seconds:,.0f}/s",
}
"""How amounts of a unit are written; all other units are counts, such as rows or statements."""


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Give a function that shows the current activity and the elapsed time on the terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("starting")
        yield lambda text: progress.update(bar, description=text)


def conclude(figures: Sequence[Figure], *, console: Console, title: str = "What the core costs") -> int:
    """Print the table and return the status: 1 where a bound is missed."""
    table = Table("what", "measured", "against", "ratio", "bound", "verdict", title=title)
    for figure in figures:
        verdict = "-" if figure.bound is None else "kept" if figure.is_kept else "[red]missed[/red]"
        bound = "-" if figure.bound is None else f"{figure.bound:g}"
        spell = UNITS.get(figure.unit, "{:,.0f}".format)
        against = f"{spell(figure.yardstick)}: {figure.against}"
        table.add_row(figure.what, spell(figure.measured), against, f"{figure.ratio:.2f}", bound, verdict)
    console.print(table)
    missed = sum(not figure.is_kept for figure in figures)
    bounded = sum(figure.bound is not None for figure in figures)
    console.print(f"{bounded - missed} of {bounded} bounds are kept")
    return 1 if missed else 0
