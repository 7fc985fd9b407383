"""The object store that the command line reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

from optimizer.artifacts.store import ObjectStore
from optimizer.cli.control_plane import URL_VARIABLE
from optimizer.local.demo import running
from optimizer.local.stack import LocalStack


@contextmanager
def open_store() -> Iterator[ObjectStore]:
    """Give the objects that belong to the control plane of `connect`.

    With OPTIMIZER_CONTROL_PLANE_URL that is S3 as boto3 finds it (AWS_PROFILE, AWS_ENDPOINT_URL, …), else the
    embedded stack's server, which runs only meanwhile if it is down.
    """
    if os.environ.get(URL_VARIABLE):
        client = boto3.Session().client("s3")  # what the environment says now, not what it said first
        try:
            yield ObjectStore(client)
        finally:
            client.close()
        return
    stack = LocalStack.open()
    with running(stack, "objects"):
        client = stack.connect_objects()
        try:
            yield ObjectStore(client)
        finally:
            client.close()
