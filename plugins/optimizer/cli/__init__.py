"""The `optimizer` command line: inspect, explain, deploy and operate."""

from optimizer.presentation.commands import requiring_extra


def main() -> None:
    """Run the `optimizer` command."""
    with requiring_extra("cli"):
        from optimizer.cli.main import app
    app()
