"""`python -m optimization_tracking list|show|top|compare|watch|export|resume|serve|migrate|refresh|keys …`"""

from optimization_tracking.commands.main import app

if __name__ == "__main__":
    app(prog_name="python -m optimization_tracking")
