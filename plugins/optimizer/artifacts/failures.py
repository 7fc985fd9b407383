"""What an error of the object store means: whether a retry can help, and what to do where it cannot."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    FlexibleChecksumError,
    InvalidConfigError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    ValidationError,
)

from optimizer.artifacts.encryption import ALGORITHM_NAME
from optimizer.errors import AccessDenied, ArtifactError, OptimizerError, UnavailableError

_MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
_DENIED = {
    "401",
    "403",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AllAccessDisabled",
    "AccountProblem",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"}
_SKEWED = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_OTHER_REGION = {"301", "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
_FULL = {"507", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"}
_TRANSIENT = {
    *("408", "409", "425", "429", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"),
    *("Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded"),
    *("IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "SlowDown"),
}
_NO_CREDENTIALS = (
    *(NoCredentialsError, PartialCredentialsError, ProfileNotFound, ConfigNotFound, InvalidConfigError, NoRegionError),
    *(NoAuthTokenError, TokenRetrievalError, UnauthorizedSSOTokenError),
)
_LOCAL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


def explain(error: Exception, *, what: str, endpoint: str, folder: Path | None = None) -> OptimizerError:
    """Return our error for one of boto3's, or of the local disk's.

    Args:
        what: what was tried, with the address.
        endpoint: the store's address.
        folder: where a file is read or written on local disk.

    Returns:
        ArtifactError: the object or bucket is missing, or the store refuses the request whenever it is sent.
        AccessDenied: nothing is known of the object until credentials, rights, clock, region or certificate are right.
        UnavailableError: a retry can help.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, what=what, store=f"the object store at {endpoint}")
    if isinstance(error, _NO_CREDENTIALS):
        return AccessDenied(f"{what}: {error}; check the credentials of the object store at {endpoint}")
    if isinstance(error, FlexibleChecksumError):
        return UnavailableError(f"{what}: the object arrived changed: {error}")
    if isinstance(error, SSLError) and _CERTIFICATE in str(error):
        return AccessDenied(
            f"{what}: the certificate of the object store at {endpoint} is not trusted: {error}; set AWS_CA_BUNDLE, or "
            "`verify` in the extra of the connection"
        )
    if isinstance(error, ValidationError):
        return ArtifactError(f"{what}: {error}")
    if isinstance(error, OSError) and not isinstance(error, BotoCoreError) and error.errno in _LOCAL_DISK:
        where = error.filename or folder or "the temporary folder"
        return UnavailableError(f"{what}: the local disk cannot take it: {error.strerror} ({where}); free space there")
    return UnavailableError(f"{what}: the object store did not answer: {error}")


def _of_answer(error: ClientError, *, what: str, store: str) -> OptimizerError:
    answer: Mapping[str, Any] = error.response.get("Error", {})
    code, status = str(answer.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = ": ".join(filter(None, (code, answer.get("Message"))))
    if code in _MISSING:
        return ArtifactError(f"{what}: no such object or bucket ({code})")
    if code in _EXPIRED:
        return AccessDenied(f"{what}: {store} says that the credentials have expired ({said}); renew them")
    if code in _SKEWED:
        return AccessDenied(
            f"{what}: {store} says that the clock of this machine is wrong ({said}); set it, e.g. by NTP"
        )
    if code in _OTHER_REGION:
        return AccessDenied(f"{what}: {store} is not where the bucket is ({said}{_region(error)}); set the region")
    if code.startswith("KMS"):
        return AccessDenied(f"{what}: {store} cannot use the KMS key ({said}); check the key, its state and its policy")
    if code in _DENIED:
        return AccessDenied(
            f"{what}: {store} denies access ({said}); check its credentials and their rights{_hint(error)}"
        )
    if code in _FULL:
        return UnavailableError(f"{what}: {store} is full ({said}); free space or raise its quota")
    if 400 <= status < 500 and code not in _TRANSIENT:
        return ArtifactError(f"{what}: {store} refuses the request ({said})")
    return UnavailableError(f"{what}: the object store answered {code or error}")


def _region(error: ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    answer: Mapping[str, Any] = error.response.get("Error", {})
    region = headers.get("x-amz-bucket-region") or answer.get("Region")
    return f": it is in {region}" if region else ""


def _hint(error: ClientError) -> str:
    is_policy = error.response.get("Error", {}).get("Code") == "AccessDenied"
    if not is_policy or error.operation_name not in ("PutObject", "CreateMultipartUpload"):
        return ""
    return f", or, where the bucket's policy demands encryption, set {ALGORITHM_NAME}"
