"""The markets of the demo's entities: two display clients and a native one."""

from collections.abc import Mapping

from lab.market.settings import WorldSettings

PRESETS: Mapping[str, WorldSettings] = {
    # Drug information for prescribers: many visitors are known by their NPI, and rivals pay dearly for them.
    "drugs_hcp": WorldSettings(object_id=1334, market_median_cpm=24.0, identified_share=0.40, npis=6_000),
    # The same publisher's consumer pages: no visitor is identified, domains differ.
    "drugs_com": WorldSettings(
        object_id=1335, market_median_cpm=9.0, identified_share=0.0, npis=0, quality_sd=0.25, adspaces=14
    ),
    # A native SSP that passes its floors; the campaign is paid per thousand views.
    "nativo_consumer": WorldSettings(
        object_id=1402,
        market_median_cpm=4.0,
        identified_share=0.0,
        npis=0,
        adspaces=10,
        domains=60,
        floor_ratio=0.25,
        passes_floors=True,
        is_paid_per_click=False,
    ),
}
