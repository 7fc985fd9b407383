"""By which features, and how fine, the cells of a large log are read: within a number of cells, whatever the log.

Features that make no difference are found on coarse cells and left out: on those by all features together or, where
even the coarsest of them are too many, on those by the key so far and one more. The cells by the others are as fine as
fits.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from optimizer.core.landscape.features import FeatureScore, Selection
from optimizer.core.landscape.grain import FINEST, LADDER, NEARLY_FINEST, Grain, finest_within
from optimizer.errors import DataError

CountCells = Callable[[Sequence[tuple[Sequence[str], Grain]]], Sequence[int]]
"""Features and grains -> how many cells the log has by each of them."""

JudgeFeatures = Callable[[Sequence[str], Grain], tuple[Selection, Collection[str]]]
"""Features and a grain -> the choice among them on these cells, and the features that earlier bids are known by."""


@dataclass(frozen=True, slots=True)
class CellPlan:
    """How the cells of a log are read.

    finest_cells: how many there are by all candidates on the finest grain.
    left_out: the candidates that the cells are not by, with why.
    unjudged: those of them of which nothing is known: already with them the coarsest cells were too many.
    judged_on: the coarsest grain on which others were found to make no difference; None where none was judged.
    """

    features: tuple[str, ...]
    grain: Grain
    finest_cells: int
    left_out: tuple[FeatureScore, ...] = ()
    unjudged: tuple[str, ...] = ()
    judged_on: Grain | None = None

    @property
    def is_finest(self) -> bool:
        """Whether nothing is coarser than it could be."""
        return self.grain == FINEST and not self.left_out


def plan_cells(
    candidates: Sequence[str],
    *,
    needed: Sequence[str],
    max_features: int,
    max_cells: int,
    count: CountCells,
    judge: JudgeFeatures,
) -> CellPlan:
    """Return the finest cells within `max_cells`.

    Args:
        needed: candidates that stay, the most important first: the anchor, and the key of the active run.
        max_features: that many features are in a key at most.

    Raises:
        DataError: the anchor alone has more cells on the coarsest grain.
    """
    search = _Search(candidates, needed=needed, max_cells=max_cells, count=count, judge=judge)
    features, finest_cells = tuple(candidates), count([(candidates, FINEST)])[0]
    number = 0 if finest_cells <= max_cells else search.finest_of(features)
    if number is None:
        features = search.choose_one_by_one(max_features)
    elif number >= NEARLY_FINEST:
        features = search.choose_together(number)
    if features != tuple(candidates):
        number = search.finest_of(features)
    if number is None:
        raise DataError(
            f"the log has more than max_cells={max_cells} cells by {', '.join(features)} alone, however coarse; raise "
            "max_cells, lower lookback_days, or choose an anchor_feature with fewer values"
        )
    left_out = tuple(search.left_out(feature) for feature in candidates if feature not in features)
    unjudged = tuple(score.feature_name for score in left_out if score.gain is None and score.signal_score is None)
    return CellPlan(features, LADDER[number], finest_cells, left_out, unjudged, search.coarsest_judged)


@dataclass(slots=True)
class _Search:
    """The search for features that matter on coarse cells.

    scores: what is known of each feature so far. coarsest_judged: the coarsest grain that one was judged on.
    """

    candidates: Sequence[str]
    needed: Sequence[str]
    max_cells: int
    count: CountCells
    judge: JudgeFeatures
    scores: dict[str, FeatureScore] = field(default_factory=dict)
    coarsest_judged: Grain | None = None

    def finest_of(self, features: Sequence[str]) -> int | None:
        """Return the number of the finest grain of `LADDER` on which the cells by these features are few enough."""
        return finest_within(self.count([(features, grain) for grain in LADDER]), self.max_cells)

    def choose_together(self, number: int) -> tuple[str, ...]:
        """Return the candidates that are needed or chosen on cells by all of them."""
        chosen = self._judge(self.candidates, number)
        return tuple(feature for feature in self.candidates if feature in chosen)

    def choose_one_by_one(self, max_features: int) -> tuple[str, ...]:
        """Return the needed candidates and, greedily, those that are chosen on cells by these and one more."""
        kept: list[str] = []
        for feature in self.needed:
            if not kept or self.finest_of([*kept, feature]) is not None:
                kept.append(feature)
        while len(kept) < max_features and (best := self._best_beside(kept)) is not None:
            kept.append(best)
        return tuple(feature for feature in self.candidates if feature in kept)

    def left_out(self, feature: str) -> FeatureScore:
        """Return what is known of a feature that the cells are not by."""
        if (score := self.scores.get(feature)) is not None:
            return replace(score, is_selected=False, reason=f"{score.reason} (on coarser cells, because of max_cells)")
        reason = "left out unjudged: with it even the coarsest cells are more than max_cells"
        return FeatureScore(feature, None, None, None, is_selected=False, is_anchor=False, reason=reason)

    def _best_beside(self, kept: Sequence[str]) -> str | None:
        gains = {}
        for feature in self.candidates:
            if feature in kept or (number := self.finest_of([*kept, feature])) is None:
                continue
            if feature in self._judge([*kept, feature], number):
                gains[feature] = self.scores[feature].gain or 0.0
        return max(gains, key=lambda feature: gains[feature]) if gains else None

    def _judge(self, features: Sequence[str], number: int) -> set[str]:
        selection, known_by = self.judge(features, LADDER[number])
        self.scores |= {score.feature_name: score for score in selection.scores}
        if self.coarsest_judged is None or LADDER.index(self.coarsest_judged) < number:
            self.coarsest_judged = LADDER[number]
        return {*selection.features, *known_by, *self.needed}
