"""How the object store encrypts what is written to it, where its own default is not enough."""

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.errors import ConfigError

ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
"""SSE-S3; SSE-KMS with one layer and with two."""

ALGORITHM_NAME, KMS_KEY_NAME = "server_side_encryption", "kms_key_id"
"""The settings in the extra of an Airflow connection."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """Server-side encryption of each object that is written; without an algorithm the bucket's default counts.

    algorithm: one of ALGORITHMS. kms_key_id: id, alias or ARN of a KMS key; None: the account's own key for S3.

    Raises:
        ConfigError: the algorithm is not known, or there is a key for one that has none.
    """

    algorithm: str | None = None
    kms_key_id: str | None = None

    def __post_init__(self) -> None:
        if self.algorithm is not None and self.algorithm not in ALGORITHMS:
            raise ConfigError(f"{self.algorithm!r} is not an encryption of S3; write one of {', '.join(ALGORITHMS)}")
        if self.kms_key_id is not None and not (self.algorithm or "").startswith("aws:kms"):
            raise ConfigError(
                f"a KMS key needs the encryption aws:kms or aws:kms:dsse, not {self.algorithm!r}; set both"
            )

    @classmethod
    def read(cls, settings: Mapping[str, str | None], *, algorithm: str, kms_key_id: str) -> "Encryption":
        """Return what two named settings say; empty ones say nothing. Raises as the class."""
        try:
            return cls(settings.get(algorithm) or None, settings.get(kms_key_id) or None)
        except ConfigError as error:
            raise ConfigError(f"{algorithm} and {kms_key_id}: {error}") from None

    def fields(self) -> dict[str, str]:
        """Return the fields of a PutObject request."""
        named = {"ServerSideEncryption": self.algorithm, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in named.items() if value is not None}


BUCKETS_DEFAULT = Encryption()
