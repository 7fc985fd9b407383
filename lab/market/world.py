"""A market of one SSP client whose truth can be asked.

log(best rival's price) = log(market median) + segment + day(adspace) + domain + quality + log(noise), where quality is
what rivals see of a visitor and the log does not show.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa

from lab.market import market
from lab.market.floors import Floors, create_floors
from lab.market.population import (
    OS_CODES,
    Domains,
    Segments,
    Visitors,
    create_domains,
    create_segments,
    create_visitors,
    weigh_qualities,
)
from lab.market.regions import REGIONS
from lab.market.season import Season, create_season
from lab.market.settings import WorldSettings
from optimizer.errors import DataError

SEGMENT_FEATURES = ("internal_adspace_id", "geo_region_name", "os_code")


@dataclass(frozen=True)
class World:
    """A market, fixed by its seed and settings. Amounts are CPM.

    In every method `rows` holds row numbers of `segments` (None: all of them). Rows and bids broadcast together:
    rows[:, None] with bids of shape (grid,) gives (n, grid). `seen_bid_cpm`, shape (adspaces,), is our mean bid of the
    day before, which a floor-chasing SSP follows; without it no floor is chased.
    """

    seed: int
    settings: WorldSettings
    population: Segments
    domains: Domains
    visitors: Visitors
    season: Season
    floors: Floors
    win_ratios: market.RatioTable
    click_ratios: market.RatioTable

    @classmethod
    def create(cls, seed: int, *, settings: WorldSettings) -> "World":
        """Return the market that a seed and settings make."""
        population = create_segments(seed, settings=settings)
        domains = create_domains(seed, settings=settings)
        visitors = create_visitors(seed, settings=settings)
        effects, weights, clicks = weigh_qualities(visitors, settings=settings)
        by_price = {"quality_effects": effects, "domain_effects": domains.price_effect}
        return cls(
            seed=seed,
            settings=settings,
            population=population,
            domains=domains,
            visitors=visitors,
            season=create_season(seed, settings=settings),
            floors=create_floors(adspace_effects=population.adspace_effect, settings=settings),
            win_ratios=market.tabulate_ratios(
                **by_price, quality_weights=weights, domain_weights=domains.share_by_adspace
            ),
            click_ratios=market.tabulate_ratios(
                **by_price,
                quality_weights=weights * clicks,
                domain_weights=domains.share_by_adspace * domains.click_ratio,
            ),
        )

    @cached_property
    def segments(self) -> pa.Table:
        """The segments, largest first: their three features and request_share."""
        people = self.population
        values = (people.adspace_ids, tuple(REGIONS), OS_CODES)
        indexes = (people.adspace, people.region, people.os)
        features = [pa.array(names).take(pa.array(index)) for names, index in zip(values, indexes, strict=True)]
        return pa.table([*features, people.request_share], names=[*SEGMENT_FEATURES, "request_share"])

    def find_segments(self, columns: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return the row number in `segments` for each row of the three feature columns, shape (n,).

        Raises:
            DataError: a row is not a segment of this market.
        """
        known = zip(*(self.segments[name].to_pylist() for name in SEGMENT_FEATURES), strict=True)
        number_of = {features: number for number, features in enumerate(known)}
        asked = zip(*(columns[name] for name in SEGMENT_FEATURES), strict=True)
        try:
            return np.array([number_of[features] for features in asked], dtype=np.intp)
        except KeyError as error:
            raise DataError(f"{error.args[0]} is not a segment of this market; take those of World.segments") from None

    def log_level(self, rows: np.ndarray | None = None, *, day_numbers: np.ndarray | int) -> np.ndarray:
        """Return the log CPM around which the best rival bids on these days (0 is the market's first)."""
        effects = self.population.price_effect[self._rows(rows)]
        day = self.season.log_effect(day_numbers, adspaces=self._adspaces(rows))
        return np.log(self.settings.market_median_cpm) + effects + day

    def price_cdf(self, rows: np.ndarray | None = None, *, price_cpm: np.ndarray, day: date) -> np.ndarray:
        """Return P(best rival's price <= price_cpm); its mass at 0 is the auctions without a rival."""
        return self._best_rival_cdf(self.win_ratios, rows, price_cpm=price_cpm, day=day)

    def win_probability(
        self, rows: np.ndarray | None = None, *, bid_cpm: np.ndarray, day: date, seen_bid_cpm: np.ndarray | None = None
    ) -> np.ndarray:
        """Return P(win) of a final bid on the segment's average request: over its domains, visitors and floors."""
        chased = self.floors.chase(seen_bid_cpm, day_number=self.season.number(day))
        reached = self.floors.reach_probability(adspaces=self._adspaces(rows), bid_cpm=bid_cpm, chased_cpm=chased)
        cheaper = self.price_cdf(rows, price_cpm=bid_cpm, day=day)
        return (1 - self.settings.lost_otherwise_share) * reached * cheaper

    def true_slope(self, rows: np.ndarray | None = None, *, bid_cpm: np.ndarray, day: date) -> np.ndarray:
        """Return d logit P(win) / d log bid above the floors, taken over the reach of a jitter: 20 % down and up."""
        cheaper = (self.price_cdf(rows, price_cpm=np.exp(step) * bid_cpm, day=day) for step in (-0.2, 0.2))
        low, high = ((1 - self.settings.lost_otherwise_share) * p for p in cheaper)
        return (np.log(high / (1 - high)) - np.log(low / (1 - low))) / 0.4

    def true_ctr(
        self, rows: np.ndarray | None = None, *, bid_cpm: np.ndarray | None = None, day: date | None = None
    ) -> np.ndarray:
        """Return clicks a view: over all requests, or over those that a bid wins on a day (they click less)."""
        base = self.segment_click_rate[self._rows(rows)]
        if bid_cpm is None or day is None:
            return base * self.click_ratios.values[self._adspaces(rows), -1]
        return base * self._click_ratio(rows, bid_cpm=bid_cpm, day=day)

    def value_per_mille_cpm(
        self, rows: np.ndarray | None = None, *, bid_cpm: np.ndarray | None = None, day: date | None = None
    ) -> np.ndarray:
        """Return V = 1000 x CTR x revenue a click + 1000 x revenue a view."""
        ctr = self.true_ctr(rows, bid_cpm=bid_cpm, day=day)
        return 1_000 * (ctr * self.click_revenue + self.view_revenue)

    def true_margin(self, bid_cpm: np.ndarray, *, day: date) -> float:
        """Return (revenue - cost) / revenue of the portfolio at first-price bids of shape (segments,)."""
        won = self.population.request_share * self.win_probability(bid_cpm=bid_cpm, day=day)
        return float(1 - won @ bid_cpm / (won @ self.value_per_mille_cpm(bid_cpm=bid_cpm, day=day)))

    @cached_property
    def flat_bid_cpm(self) -> float:
        """The one bid, in cents, that wins `logged_win_rate` of the requests on the first day."""
        first_day, target = self.settings.first_day, self.settings.logged_win_rate
        cents = range(1, int(1_000 * self.settings.market_median_cpm))

        def win_rate(bid_cents: int) -> float:
            return self.population.request_share @ self.win_probability(bid_cpm=bid_cents / 100, day=first_day)

        return cents[bisect_left(cents, target, key=win_rate)] / 100

    @cached_property
    def segment_click_rate(self) -> np.ndarray:
        """CTR by segment before domain and visitor, scaled so that the views of the flat bid have `click_rate`."""
        bid, day = self.flat_bid_cpm, self.settings.first_day
        ratio = np.exp(self.population.click_effect)
        won = self.population.request_share * self.win_probability(bid_cpm=bid, day=day)
        mean = (won / won.sum()) @ (ratio * self._click_ratio(None, bid_cpm=bid, day=day))
        return self.settings.click_rate * ratio / mean

    @cached_property
    def click_revenue(self) -> float:
        """Currency units a click pays; 0 where the campaign is paid by view."""
        settings = self.settings
        if not settings.is_paid_per_click:
            return 0.0
        return round(settings.value_ratio * settings.market_median_cpm / (1_000 * settings.click_rate), 2)

    @cached_property
    def view_revenue(self) -> float:
        """Currency units a view pays; 0 where the campaign is paid by click."""
        settings = self.settings
        return 0.0 if settings.is_paid_per_click else settings.value_ratio * settings.market_median_cpm / 1_000

    def _click_ratio(self, rows: np.ndarray | None, *, bid_cpm: np.ndarray, day: date) -> np.ndarray:
        clicked = self._best_rival_cdf(self.click_ratios, rows, price_cpm=bid_cpm, day=day)
        return clicked / self._best_rival_cdf(self.win_ratios, rows, price_cpm=bid_cpm, day=day)

    def _best_rival_cdf(
        self, table: market.RatioTable, rows: np.ndarray | None, *, price_cpm: np.ndarray, day: date
    ) -> np.ndarray:
        number, adspaces = self.season.number(day), self._adspaces(rows)
        return market.best_rival_cdf(
            np.asarray(price_cpm, dtype=float),
            log_level=self.log_level(rows, day_numbers=number),
            new_rival_share=self.season.new_rival_share(number, adspaces=adspaces),
            ratio_cdf=lambda log_ratio: table.at(adspaces, log_ratio),
            settings=self.settings,
        )

    def _rows(self, rows: np.ndarray | None) -> np.ndarray:
        return np.arange(len(self.population.adspace)) if rows is None else np.asarray(rows)

    def _adspaces(self, rows: np.ndarray | None) -> np.ndarray:
        return self.population.adspace[self._rows(rows)]
