"""The bidder in Node of examples/, compared with vectors."""

import shutil
import subprocess
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples/node-bidder"


def check_vectors(folder: Path, *, bidder: Path = EXAMPLE) -> subprocess.CompletedProcess[str]:
    """Run the example's check on the folder of vectors.

    Raises:
        AssertionError: there is no Node.
    """
    node = shutil.which("node")
    assert node, "install Node (`make servers`): the example in examples/node-bidder runs on it"
    return subprocess.run([node, str(bidder / "check.mjs"), str(folder)], capture_output=True, text=True)
