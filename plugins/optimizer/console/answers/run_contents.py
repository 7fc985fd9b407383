"""What a run was configured with, and which files it published."""

from pydantic import BaseModel

from optimizer.control_plane.records import Run
from optimizer.control_plane.run_views import RunView
from optimizer.core.config.merge import SECTIONS, ConfigValue
from optimizer.core.records import run_files
from optimizer.runs.published_run import PublishedFigures

WITHHELD = {run_files.NPIS_CSV: "it identifies professionals, so the console does not hand it out"}
"""Published files that the console does not serve, and why."""


class File(BaseModel):
    """A published file. withheld: why it is not served, None where it is."""

    name: str
    output_type: str
    rows: int | None
    byte_count: int | None
    sha256: str | None
    withheld: str | None = None


class Setting(BaseModel):
    """A config value of the run. source: default, entity or run; None for runs that did not note it."""

    section: str
    key: str
    value: ConfigValue
    source: str | None


def settings_shown(row: Run, figures: PublishedFigures | None) -> list[Setting]:
    """Return the frozen configuration of the row, which every started run has."""
    snapshot = row.config_snapshot or {}
    sources = snapshot.get("sources") or ({} if figures is None else figures.config.sources)
    return [
        Setting(section=section, key=key, value=value, source=sources.get(key))
        for section in SECTIONS
        for key, value in sorted((snapshot.get(section) or {}).items())
    ]


def files_of(view: RunView, figures: PublishedFigures | None) -> list[File]:
    """Return the published files of the manifest; where that is away, those that the control plane lists."""
    if view.run.outputs_removed_at is not None:
        return []
    if figures is not None:
        return [
            File(
                name=item.name,
                output_type=item.output_type,
                rows=item.row_count,
                byte_count=item.byte_count,
                sha256=item.sha256,
                withheld=WITHHELD.get(item.name),
            )
            for item in figures.manifest.objects
        ]
    return [
        File(
            name=one.s3_key.rsplit("/", 1)[-1],
            output_type=one.output_type,
            rows=one.row_count,
            byte_count=one.byte_count,
            sha256=one.sha256,
            withheld=WITHHELD.get(one.s3_key.rsplit("/", 1)[-1]),
        )
        for one in view.outputs
        if one.output_type != "manifest"
    ]
