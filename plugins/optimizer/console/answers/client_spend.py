"""Where a client's money goes: the spend that the live run expects, by the values of each feature of its key."""

from pydantic import BaseModel

from optimizer.console.context import Context
from optimizer.control_plane.deployment_history import read_active
from optimizer.control_plane.runs import read_run
from optimizer.core.pricing.expected_spend import DailySpend
from optimizer.errors import ArtifactError, RunStateError, UnavailableError
from optimizer.runs.run_spend import FeatureSpend


class SpendOfValue(BaseModel):
    """What a value of a feature is expected to bring a day; money in currency units.

    value: None for all smaller ones together, which are `values` many.
    share: of the run's whole spend.
    """

    value: str | None
    values: int
    spend: float
    share: float | None
    win_rate: float | None
    cpm: float | None
    margin: float | None


class SpendOfFeature(BaseModel):
    """The largest values of a feature, and the rest."""

    feature: str
    values: list[SpendOfValue]


class ClientSpend(BaseModel):
    """The live run with the largest share, and where its money goes.

    problem: why that is not known, or None.
    """

    run_id: str | None
    features: list[SpendOfFeature]
    problem: str | None = None


def read_spend(asked: Context, entity_code: str) -> ClientSpend:
    """Return the expected spend of the client's live run; a run whose files cannot be read says so."""
    active = read_active(asked.systems.engine, entity_code)
    live = next((row for row in active if row.source != "control"), None)
    if live is None:
        return ClientSpend(run_id=None, features=[], problem="nothing is live")
    try:
        row = read_run(asked.systems.engine, live.run_id)
        features = asked.published.spend(row, store=asked.systems.store)
    except (ArtifactError, RunStateError, UnavailableError) as error:
        return ClientSpend(run_id=live.run_id, features=[], problem=str(error))
    return ClientSpend(run_id=live.run_id, features=[_feature(one) for one in features])


def _feature(found: FeatureSpend) -> SpendOfFeature:
    values = [_value(value or "(empty)", spend, found.total) for value, spend in found.largest]
    if found.rest_values:
        values.append(_value(None, found.rest, found.total, values=found.rest_values))
    return SpendOfFeature(feature=found.feature, values=values)


def _value(value: str | None, spend: DailySpend, total: DailySpend, *, values: int = 1) -> SpendOfValue:
    return SpendOfValue(
        value=value,
        values=values,
        spend=spend.spend,
        share=spend.spend / total.spend if total.spend > 0 else None,
        win_rate=spend.win_rate,
        cpm=spend.cpm,
        margin=spend.margin,
    )
