"""Entity definitions for DAGs, without a database."""

from optimizer.control_plane.records import Entity, EntityDefinition, FeatureMacro
from optimizer.core.config.settings import CONFIG_VERSION, config_catalogue

TASKS = [
    "snapshot_config",
    "extract",
    "select_features",
    "train_models",
    "compute_bids",
    "validate",
    "upload",
    "register",
    "approve",
    "promote",
    "close_run",
]
"""The tasks of an entity's DAG, in the order of a run's life."""


def define(entity_code: str = "drugs_hcp", *, status: str = "A", **values: str) -> EntityDefinition:
    """Return an entity's definition with these config values of its own."""
    return EntityDefinition(
        entity=Entity(
            entity_id=1,
            opt_id=1,
            entity_code=entity_code,
            entity_name=entity_code.title(),
            object_id=1334,
            object_type="ssp",
            current_version_id=1,
            active_run_id=None,
            s3_base_path=f"s3://bucket/optimizer/{entity_code}/",
            status=status,
        ),
        version_code=CONFIG_VERSION,
        config_keys=config_catalogue(),
        supported_keys=None,
        entity_values=values,
        feature_macros=(
            FeatureMacro(
                macro_id=2, feature_name="geo_region_name", macro_template="[ADX_GEO_STATE]", macro_format="adx"
            ),
        ),
    )
