import numpy as np
import pandas as pd
import pytest

from optimizer.core.checks.multipliers import multiplier_checks
from optimizer.core.pricing.multipliers import DOMAIN_BOUNDS, normalise


def table() -> pd.DataFrame:
    requests = np.arange(1.0, 51)
    raw = np.random.default_rng(1).lognormal(0, 0.3, 50)
    multiplier = normalise(raw, requests=requests, bounds=DOMAIN_BOUNDS)
    return pd.DataFrame({"domain": [f"d{i}.example" for i in range(50)], "multiplier": multiplier, "bids": requests})


def failed(domains: pd.DataFrame) -> set[str]:
    return {check.name for check in multiplier_checks({"domain": (domains, DOMAIN_BOUNDS)}) if not check.is_passed}


def test_multipliers_as_they_are_made_pass():
    assert failed(table()) == set() == failed(table().iloc[:0])


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"multiplier": 10.0}, {"multipliers_outside_bounds", "multiplier_mean_error"}),
        ({"multiplier": 1.2}, {"multiplier_mean_error"}),
        ({"multiplier": np.nan}, {"multipliers_outside_bounds", "multiplier_mean_error"}),
        ({"domain": "same.example"}, {"duplicate_multipliers"}),
        ({"domain": ""}, {"duplicate_multipliers"}),
    ],
)
def test_changed_multipliers_fail(columns: dict, names: set[str]):
    assert failed(table().assign(**columns)) == names
