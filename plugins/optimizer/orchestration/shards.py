"""Which of several DAG files builds the DAG of an entity, where there are too many for one."""

from dataclasses import dataclass
from hashlib import sha256

from optimizer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of the entities, by a hash of their codes: `number` is from 1 to `count`.

    Raises:
        ConfigError: there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(f"Shard({self.number}, {self.count}): write Shard(1, {self.count}) and so on")

    def takes(self, entity_code: str) -> bool:
        """Return whether the entity belongs to this part: it belongs to exactly one, at every parse."""
        return int.from_bytes(sha256(entity_code.encode()).digest()[:8]) % self.count == self.number - 1


WHOLE = Shard(1, 1)
