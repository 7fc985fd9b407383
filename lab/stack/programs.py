"""The programs of a local stack, and the supervisord configuration that runs them."""

import shlex
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.stack.home import StackHome
from lab.stack.postgres import embedded_programs, server_command
from lab.stack.settings import StackSettings

SYSTEMS = ("warehouse", "objects", "tracking")
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
PROGRAMS = SYSTEMS + AIRFLOW

_SUPERVISORD = """\
[supervisord]
logfile={logs}/supervisord.log
pidfile={home}/supervisord.pid
childlogdir={logs}
directory={home}
umask=077

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{program.name}]
command={command}
environment={environment}
autostart=false
autorestart=true
startsecs={program.start_s}
startretries=2
stopsignal={program.stop_signal}
stopwaitsecs={program.stop_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised command.

    `start_s`: it counts as started once it has run this long. `stop_s`: it is killed when it takes longer to end, as
    `stop_signal` asks it to.
    `environment`: variables in addition to supervisord's; they have no secrets.
    """

    name: str
    command: tuple[str, ...]
    start_s: int
    stop_s: int
    stop_signal: str = "TERM"
    environment: Mapping[str, str] = field(default_factory=dict)


def list_programs(settings: StackSettings, *, home: StackHome, with_schedules: bool) -> tuple[Program, ...]:
    """Return every program of the stack, systems first. No command line holds a secret.

    Without schedules Airflow's scheduler runs what is triggered and opens no run by itself.
    """
    airflow = (sys.executable, "-m", "airflow")
    scheduler_environment = {
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(with_schedules),
        # At most this long after a task the next one begins; idle, the scheduler uses more processor time for it.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1" if with_schedules else "0.2",
    }
    return (
        Program("warehouse", _warehouse_command(settings, home), start_s=1, stop_s=15),
        Program("objects", _objects_command(settings, home), start_s=1, stop_s=15),
        # On TERM Postgres would wait until its last client has gone; on INT it sends them away.
        Program("tracking", _tracking_command(settings, home), start_s=1, stop_s=15, stop_signal="INT"),
        # It keeps nothing of its own, and would clear its memory for 5 s after its last answer.
        Program("airflow-api-server", (*airflow, "api-server"), start_s=5, stop_s=2),
        # The log servers of these two would listen on every interface; the api-server reads the files itself.
        # The scheduler would wait for running tasks without end; a killed one is run again after the next start.
        Program(
            "airflow-scheduler",
            (*airflow, "scheduler", "--skip-serve-logs"),
            start_s=5,
            stop_s=8,
            environment=scheduler_environment,
        ),
        Program("airflow-dag-processor", (*airflow, "dag-processor"), start_s=5, stop_s=15),
        # It keeps nothing of its own, and would wait 10 s for its child process.
        Program("airflow-triggerer", (*airflow, "triggerer", "--skip-serve-logs"), start_s=5, stop_s=3),
    )


def render_supervisord(programs: Iterable[Program], *, home: StackHome, socket_path: Path) -> str:
    """Return supervisord.conf. Its programs inherit supervisord's environment, so no secret is in it."""
    sections = [_SUPERVISORD.format(home=home.path, logs=home.logs, socket=socket_path)]
    for program in programs:
        environment = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
        command, log = shlex.join(program.command), home.log(program.name)
        sections.append(_PROGRAM.format(program=program, command=command, environment=environment, log=log))
    return "".join(sections)


def _warehouse_command(settings: StackSettings, home: StackHome) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "lab.stack.snowflake_server"),
        *("--port", str(settings.warehouse_port)),
        *("--folder", str(home.warehouse)),
        *("--certificate", str(home.certificate)),
        *("--private-key", str(home.private_key)),
    )


def _tracking_command(settings: StackSettings, home: StackHome) -> tuple[str, ...]:
    return server_command(home.tracking, socket_folder=settings.socket_path.parent, programs=embedded_programs())


def _objects_command(settings: StackSettings, home: StackHome) -> tuple[str, ...]:
    rclone = Path(sysconfig.get_path("scripts")) / "rclone"
    address = ("--addr", f"127.0.0.1:{settings.objects_port}")
    # An empty --config keeps the user's own remotes out.
    return (str(rclone), "serve", "s3", *address, "--config", "", str(home.objects))
