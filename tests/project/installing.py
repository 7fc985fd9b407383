"""The installer that `make install` uses, for environments of a test's own."""

import os
import shutil
import subprocess
from pathlib import Path

from project.distribution import PROJECT


def uv(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    own = PROJECT / ".uv" / "bin" / "uv"
    program = str(own) if own.exists() else shutil.which("uv")
    assert program, "uv is missing; `make install` installs it"
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
