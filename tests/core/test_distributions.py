import numpy as np
import pytest
from scipy import stats

from optimizer.core.distributions import chi_square_tail, gamma_quantile, student_t_quantile


@pytest.mark.parametrize("freedom", [1, 2.5, 29, np.inf])
@pytest.mark.parametrize("share", [0.025, 0.5, 0.995])
def test_quantiles_of_student_s_t_are_those_of_scipy_stats(share, freedom):
    assert student_t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-12, abs=1e-15)


def test_quantiles_of_gamma_distributions_are_those_of_scipy_stats():
    shape, rate = np.array([0.2, 1.0, 40.0]), np.array([0.1, 3.0, 500.0])
    for share in (0.05, 0.95):
        expected = stats.gamma.ppf(share, shape, scale=1 / rate)
        assert gamma_quantile(share, shape=shape, rate=rate) == pytest.approx(expected, rel=1e-12)


def test_tails_of_chi_square_are_those_of_scipy_stats():
    value = np.array([0.0, 1.5, 40.0])
    for freedom in (1, 4):
        assert chi_square_tail(value, freedom) == pytest.approx(stats.chi2.sf(value, freedom), rel=1e-12)
