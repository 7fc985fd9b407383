"""The frozen configuration of a run: opt_runs.config_snapshot and config.json."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer

from optimizer.core.config.merge import SECTIONS, ConfigValue, EffectiveConfig
from optimizer.core.config.settings import RunSettings
from optimizer.core.serving.keys import SEPARATOR

IsoMoment = Annotated[datetime, PlainSerializer(datetime.isoformat, return_type=str, when_used="json")]
"""Written with its offset: 2026-02-04T00:00:00+00:00."""


class KeyMacro(BaseModel):
    """How the bidder finds a feature's value in a bid request."""

    model_config = ConfigDict(frozen=True)

    macro_id: int
    feature_name: str
    macro_template: str
    macro_format: str


class RunInputs(BaseModel):
    """The facts of a run beside its configuration.

    active_run_id: the run to compare with; None before a run was live.
    recent_bids_per_day: bids a day of the entity's latest runs that passed validation, the newest first.
    data_start_dt, data_end_dt: the window [start, end), UTC.
    feature_macros: of every candidate feature.
    """

    model_config = ConfigDict(frozen=True)

    entity_code: str
    object_id: int
    version_code: str
    active_run_id: str | None
    recent_bids_per_day: tuple[float, ...]
    data_start_dt: IsoMoment
    data_end_dt: IsoMoment
    feature_macros: tuple[KeyMacro, ...]

    @property
    def macros(self) -> dict[str, KeyMacro]:
        """The macros by feature."""
        return {macro.feature_name: macro for macro in self.feature_macros}

    def key_template(self, features: tuple[str, ...]) -> dict[str, str]:
        """Return how the bidder builds a key of these features: the macros in order, and their format."""
        macros = self.macros
        return {
            "macro_combination": SEPARATOR.join(macros[feature].macro_template for feature in features),
            "macro_format": macros[features[0]].macro_format,
        }


class FrozenConfig(BaseModel):
    """The values of every key by section, and the layer that each came from."""

    model_config = ConfigDict(frozen=True)

    business: Mapping[str, ConfigValue]
    technical: Mapping[str, ConfigValue]
    static: Mapping[str, ConfigValue]
    sources: Mapping[str, str] = {}

    @property
    def values(self) -> dict[str, ConfigValue]:
        """{key: typed value}, over all sections."""
        return {key: value for section in SECTIONS for key, value in getattr(self, section).items()}

    @property
    def settings(self) -> RunSettings:
        """The typed settings."""
        return RunSettings.model_validate(self.values)


class ConfigSnapshot(FrozenConfig):
    """All that a run is reproduced from: its configuration and its inputs."""

    inputs: RunInputs

    @classmethod
    def of(cls, config: EffectiveConfig, *, inputs: RunInputs) -> "ConfigSnapshot":
        """Return the snapshot of a merged configuration."""
        return cls(**config.by_section(), sources=dict(sorted(config.sources.items())), inputs=inputs)

    def to_json(self) -> dict[str, Any]:
        """Return what opt_runs.config_snapshot and config.json hold."""
        return self.model_dump(mode="json")
