"""`python -m optimizer.bidder serve|price|refresh …`"""

from optimizer.presentation.commands import requiring_extra

if __name__ == "__main__":
    with requiring_extra("bidder"):
        from optimizer.bidder.commands import app
    app(prog_name="python -m optimizer.bidder")
