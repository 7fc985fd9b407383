"""An object store on the session's S3 server, with an empty prefix for each test."""

from collections.abc import Iterator
from itertools import count

import pytest
from servers.embedded import systems

from lab.stack import LocalStack
from optimizer.artifacts.store import ObjectStore

__all__ = ["systems"]

BUCKET = "artifacts"
_numbers = count(1)


@pytest.fixture
def store(systems: LocalStack) -> Iterator[ObjectStore]:
    systems.ensure_bucket(BUCKET)
    client = systems.connect_objects()
    yield ObjectStore(client)
    client.close()


@pytest.fixture
def prefix() -> str:
    return f"s3://{BUCKET}/optimizer/client {next(_numbers)}/"
