"""`python -m optimization_tracking list|show|top|compare|watch|export|resume|serve|migrate|refresh|keys …`"""

from optimizer.presentation.commands import requiring_extra

if __name__ == "__main__":
    with requiring_extra("tracking"):
        from optimization_tracking.commands.main import app
    app(prog_name="python -m optimization_tracking")
