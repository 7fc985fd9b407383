"""What `optimizer doctor` reports."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One thing that does not fit, to whom it belongs, and what to do."""

    subject: str
    problem: str
    todo: str
