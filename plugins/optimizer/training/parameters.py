"""Parameters of the win-rate model: LightGBM's, and the weight of segments' own data next to the model."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class ModelParameters(BaseModel):
    """The parameters that tuning may change, with the values that are used without it.

    learning_rate, num_leaves, min_sum_hessian_in_leaf, cat_smooth, cat_l2: LightGBM's.
    level_variance: factor on the estimated variance of segments around the model: below 1 a segment's own evidence
        counts less than it says, above 1 more.
    """

    model_config = ConfigDict(frozen=True)

    learning_rate: float = 0.1
    num_leaves: int = 31
    min_sum_hessian_in_leaf: float = 20.0
    cat_smooth: float = 10.0
    cat_l2: float = 10.0
    level_variance: float = 1.0

    def boosting(self) -> dict[str, Any]:
        """Return LightGBM's part."""
        return self.model_dump(exclude={"level_variance"})
