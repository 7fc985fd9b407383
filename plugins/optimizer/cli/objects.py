"""The object store that the command line reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from optimizer.artifacts.encryption import Encryption
from optimizer.artifacts.store import ObjectStore
from optimizer.cli.local import running_objects


@contextmanager
def open_store() -> Iterator[ObjectStore]:
    """Give the object store of the environment, as boto3 finds it: AWS_PROFILE, AWS_ENDPOINT_URL, …

    It encrypts as OPTIMIZER_OBJECTS_ENCRYPTION and OPTIMIZER_OBJECTS_KMS_KEY say.

    Raises:
        ConfigError: they name an encryption that S3 does not have.
    """
    encryption = Encryption.read(
        os.environ, algorithm="OPTIMIZER_OBJECTS_ENCRYPTION", kms_key_id="OPTIMIZER_OBJECTS_KMS_KEY"
    )
    # They take half a second to load, and most commands need no objects.
    import boto3
    import botocore.session

    from optimizer.artifacts.aws_models import share_models

    session = botocore.session.get_session()
    # Nothing here reads the time of an object, which takes dateutil a tenth of what a listing costs.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    with running_objects():
        # A session of its own: boto3's default one keeps the first environment.
        own = boto3.Session(botocore_session=session)
        share_models(own)
        client = own.client("s3")
        try:
            yield ObjectStore(client, encryption)
        finally:
            client.close()
