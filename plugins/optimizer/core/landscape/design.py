"""The columns of a regression in which each day has a level of its own."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Design:
    """Columns, and after them one column of zeros and ones a level, kept as the number of each row's level.

    Products cost what the columns alone cost, however many levels there are.

    columns: shape (n_rows, n_columns); level: shape (n_rows,), 0..levels-1, unused without levels.
    """

    columns: np.ndarray
    level: np.ndarray
    levels: int

    @classmethod
    def plain(cls, columns: np.ndarray) -> "Design":
        """Return the columns without levels."""
        return cls(columns, np.zeros(len(columns), dtype=np.intp), 0)

    @property
    def width(self) -> int:
        """The number of coefficients: of the columns, then of the levels."""
        return self.columns.shape[1] + self.levels

    def predict(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the sum of each row's coefficients times its values, shape (n_rows,)."""
        own = self.columns.shape[1]
        predicted = self.columns @ coefficients[:own]
        return predicted + coefficients[own:][self.level] if self.levels else predicted

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the values times each column, shape (width,)."""
        own = self.columns.T @ values
        return np.concatenate([own, np.bincount(self.level, values, self.levels)]) if self.levels else own

    def products(self, weights: np.ndarray) -> np.ndarray:
        """Return the weighted sums of the products of each two columns, shape (width, width)."""
        weighted = self.columns.T * weights
        own = weighted @ self.columns
        if not self.levels:
            return own
        across = np.array([np.bincount(self.level, values, self.levels) for values in weighted])
        across = across.reshape(len(own), self.levels)
        return np.block([[own, across], [across.T, np.diag(np.bincount(self.level, weights, self.levels))]])

    def without(self, column: int) -> "Design":
        """Return the other columns and the levels."""
        return Design(np.delete(self.columns, column, axis=1), self.level, self.levels)
