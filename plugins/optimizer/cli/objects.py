"""The object store that the command line reads."""

from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.artifacts.store import ObjectStore
from optimizer.cli.local import running_objects


@contextmanager
def open_store() -> Iterator[ObjectStore]:
    """Give the object store of the environment, as boto3 finds it: AWS_PROFILE, AWS_ENDPOINT_URL, …"""
    # It takes half a second to load, and most commands need no objects.
    import boto3

    with running_objects():
        client = boto3.Session().client("s3")  # a new session: boto3's default one keeps the first environment
        try:
            yield ObjectStore(client)
        finally:
            client.close()
