"""The figures that compute_bids notes, of a run whose numbers a test chooses."""

from typing import Any

from optimizer.core.records.bid_figures import BidFigures, LinkRecord

LINK = LinkRecord(shifts=(0.0,), shares=(1.0,), unrivalled_share=0.0)


def bid_figures(**known: Any) -> BidFigures:
    """Return the figures of a run of a hundred segments, with these known."""
    usual: dict[str, Any] = {
        "total_segments": 100,
        "segments_count": 100,
        "segments_in_memcache": 100,
        "row_coverage": 1.0,
        "bid_median": 10.0,
        "bid_min": 5.0,
        "bid_max": 20.0,
        "jitter_spread": 0.06,
        "largest_step": 0.1,
        "shadow_price_cpm": 3.5,
        "expected_win_rate": 0.3,
        "target_shortfall": 0.0,
        "expected_cpm": 12.0,
        "expected_margin": 0.3,
        "trust_low_cpm": 2.0,
        "trust_high_cpm": 40.0,
        "jitter_sd": 0.05,
        "step_limit": 0.15,
        "compared_segments": 0,
        "value_trust": 0.9,
        "reasons": {"target": 100},
        "level_correction": 0.0,
        "is_learning": False,
        "fallback_bid_cpm": 10.0,
        "segment_scope_cpm_ratio": None,
        "link": LINK,
        "domains_count": 0,
        "npis_count": 0,
    }
    return BidFigures(**{**usual, **known})
