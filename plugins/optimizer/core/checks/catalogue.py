"""All checks by topic, in the order in which a run's checks are listed. docs/validation.md shows this table."""

from optimizer.core.checks.backtest import BACKTEST
from optimizer.core.checks.bids import BIDS
from optimizer.core.checks.data import DATA
from optimizer.core.checks.model import MODEL
from optimizer.core.checks.multipliers import MULTIPLIERS
from optimizer.core.checks.rules import by_name
from optimizer.core.checks.tables import TABLES
from optimizer.core.checks.units import UNITS
from optimizer.core.checks.volume import VOLUME

TOPICS = {
    "Data": DATA,
    "Units": UNITS,
    "Model": MODEL,
    "Staged tables": TABLES,
    "Multipliers": MULTIPLIERS,
    "Volume": VOLUME,
    "Bids": BIDS,
    "Backtest": BACKTEST,
}
RULES = by_name(rule for rules in TOPICS.values() for rule in rules)
