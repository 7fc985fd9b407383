"""`resume`: send what killed or impatient processes left on disk."""

from typing import Annotated

import typer

from optimization_tracking.client.abandoned import send_abandoned
from optimization_tracking.commands import list_options
from optimizer.presentation.formats import one_line


def resume(
    of_any_key: Annotated[
        bool, typer.Option("--of-any-key", help="Also send what was logged with another key, e.g. before a rotation.")
    ] = False,
) -> None:
    """Send what programs logged that ended before the service had it all."""
    with list_options.connect() as client:
        queues = set()
        for resumed in send_abandoned(client, of_any_key=of_any_key):
            queues.add(resumed.path)
            outcome = resumed.outcome
            parts = {"sent": outcome.sent, "there already": outcome.repeated, "refused": outcome.refused}
            sent = "; ".join(f"{word} {_counts(counts)}" for word, counts in parts.items() if counts)
            typer.echo(one_line("; ".join([f"run {resumed.run_id}: {sent or 'nothing'}", *outcome.reasons])))
        typer.echo(f"{len(queues)} queues of ended programs in {client.settings.queue_folder}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {kind}{'' if number == 1 else 's'}" for kind, number in counts.items())
