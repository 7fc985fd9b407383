"""Where each part of a local stack lives, below its home folder."""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class StackHome:
    """The folders and files of one stack."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "stack.json"

    @property
    def lock(self) -> Path:
        return self.path / "stack.lock"

    @property
    def control_plane(self) -> Path:
        return self.path / "control_plane.db"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def airflow(self) -> Path:
        return self.path / "airflow"

    @property
    def airflow_passwords(self) -> Path:
        return self.airflow / "passwords.json"

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def tracking(self) -> Path:
        return self.path / "tracking"

    @property
    def certificate(self) -> Path:
        return self.path / "tls" / "certificate.pem"

    @property
    def private_key(self) -> Path:
        return self.path / "tls" / "private_key.pem"

    @property
    def ca_bundle(self) -> Path:
        return self.path / "tls" / "ca_bundle.pem"

    def log(self, program: str) -> Path:
        """Return the file that a program's output is written to."""
        return self.logs / f"{program}.log"

    def create(self) -> None:
        """Make the folders that are missing; the home itself is closed to everyone else."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        for folder in (self.state, self.logs, self.airflow, self.warehouse, self.objects, self.certificate.parent):
            folder.mkdir(mode=0o700, exist_ok=True)


def default_home() -> Path:
    """Return OPTIMIZER_HOME, or .local in the project."""
    return Path(os.environ.get("OPTIMIZER_HOME") or PROJECT / ".local")
