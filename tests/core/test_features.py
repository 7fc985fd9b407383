from dataclasses import replace

import numpy as np
import pytest
from core.worlds import logistic_cells, misleading_cells, spell

from optimizer.core.landscape.cells import group_cells, prepare_cells
from optimizer.core.landscape.feature_signal import remove_price, signal_score
from optimizer.core.landscape.features import SelectionLimits, select_features
from optimizer.errors import DataError

FEATURES = ["adspace", "region", "noise"]
LIMITS = SelectionLimits(
    anchor_feature="adspace", max_features=3, max_segments=5_000, min_segment_bids=20, min_evidence_share=0.5
)


def cells(seed, **options):
    return group_cells(prepare_cells(logistic_cells(seed, **options), FEATURES), FEATURES)


def test_the_anchor_leads_and_real_signal_joins():
    selection = select_features(cells(1), candidates=FEATURES, limits=LIMITS)
    assert selection.features == ("adspace", "region")
    anchor, region, noise = selection.scores
    assert anchor.is_anchor and anchor.signal_score is None
    assert region.signal_score > 100 * max(noise.signal_score, 0.1) and region.gain_lower > 0
    assert not noise.is_selected and noise.reason == "no certain gain on unseen days"


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(0, 50, 10))
def test_noise_of_any_cardinality_is_never_chosen(first_seed):
    wide = replace(LIMITS, max_segments=1_000_000, min_evidence_share=0.0)
    noises = {f"noise_{values}": values for values in (5, 50, 1_000)}
    candidates = ["adspace", "region", *noises]
    for seed in range(first_seed, first_seed + 10):
        log, draw = logistic_cells(seed, bids=10_000), np.random.default_rng([seed, 1])
        for name, values in noises.items():
            log[name] = spell("n", draw.zipf(1.3, len(log)) % values)
        single = prepare_cells(log, candidates)  # nothing to group: hardly two bids are alike in all of these
        assert not {*noises} & {*select_features(single, candidates=candidates, limits=wide).features}


MISLEADING = ["adspace", "region", "os", "browser", "set_bids", "version", "noise"]


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(0, 50, 10))
def test_of_misleading_features_hardly_one_in_fifty_logs_is_chosen_and_true_ones_are_found(first_seed):
    wide = replace(LIMITS, max_features=6, max_segments=1_000_000, min_evidence_share=0.0)
    for seed in range(first_seed, first_seed + 10):
        log = prepare_cells(misleading_cells(seed), MISLEADING)
        chosen = select_features(log, candidates=MISLEADING, limits=wide).features
        assert set(chosen) == {"adspace", "region", "os"}, seed


@pytest.mark.parametrize("values", [10, 500, 20_000])
def test_an_unchosen_candidate_changes_nothing_of_the_others(values):
    log = misleading_cells(3)
    more = log.assign(extra=np.random.default_rng(1).integers(0, values, len(log)).astype(str))
    known = MISLEADING[:-1]
    without, with_extra = (
        select_features(group_cells(prepare_cells(cells, by), by), candidates=by, limits=LIMITS)
        for cells, by in ((log, known), (more, [*known, "extra"]))
    )
    assert with_extra.features == without.features
    figures = {score.feature_name: (score.signal_score, score.gain, score.gain_lower) for score in with_extra.scores}
    for score in without.scores:
        if not score.is_anchor:
            assert figures[score.feature_name][1:] == pytest.approx((score.gain, score.gain_lower), rel=1e-6)
            assert figures[score.feature_name][0] == pytest.approx(score.signal_score, rel=1e-6)


@pytest.mark.parametrize("days", [1, 2, 4])
def test_a_log_of_a_few_days_chooses_by_blocks_of_hours(days):
    log = logistic_cells(2, bids=12_000, days=days)
    log["block_hour"] = np.random.default_rng(1).integers(0, 12, len(log)) * 2
    chosen = select_features(prepare_cells(log, FEATURES), candidates=FEATURES, limits=LIMITS)
    assert chosen.features == ("adspace", "region")


def test_a_log_of_two_days_without_hours_chooses_nothing():
    log = prepare_cells(logistic_cells(2, bids=12_000, days=2), FEATURES)
    assert select_features(log, candidates=FEATURES, limits=LIMITS).features == ("adspace",)


def test_a_gain_too_small_to_matter_is_not_chosen_and_is_reported(monkeypatch):
    monkeypatch.setattr("optimizer.core.landscape.features.LEAST_SHARE_EXPLAINED", 0.5)
    selection = select_features(cells(1), candidates=FEATURES, limits=LIMITS)
    assert selection.features == ("adspace",)
    assert {score.feature_name: score.reason for score in selection.scores}["region"] == (
        "its gain is too small to matter"
    )


def test_noise_scores_next_to_nothing():
    priced = remove_price(cells(3, noise_values=1_000))
    assert signal_score(priced, "noise") < 0.05 * signal_score(priced, "region")


def test_limits_keep_a_feature_out_and_say_so():
    tight = SelectionLimits("adspace", 3, 10, 20, 0.5)
    selection = select_features(cells(1), candidates=FEATURES, limits=tight)
    assert selection.features == ("adspace",)
    assert "96 segments are more than max_segments=10" in {score.reason for score in selection.scores}


def test_an_anchor_that_is_not_a_candidate_is_refused_with_the_choices():
    with pytest.raises(
        DataError, match="anchor_feature='colour' is not a candidate feature; set it to one of adspace, noise, region"
    ):
        select_features(cells(1), candidates=FEATURES, limits=SelectionLimits("colour", 3, 10, 20, 0.5))
