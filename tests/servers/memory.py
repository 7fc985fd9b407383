"""Where the tests' servers keep their data: in memory, since on a disk they would wait most of their time for it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of a new name in it
_LEAST_FREE = 4 << 30
"""Bytes: all servers of four test processes take less than half of it."""


@contextmanager
def memory_folder(name: str) -> Iterator[Path]:
    """Give a new folder, in memory where there is enough, else on the disk, and remove it at the end.

    Its path is short, as a socket's must be.
    """
    is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _LEAST_FREE
    with TemporaryDirectory(prefix=f"optimizer-{name}-", dir=_MEMORY if is_roomy else None) as folder:
        yield Path(folder)
