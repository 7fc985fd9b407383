"""What the object store's errors become: what can pass is tried again, the rest says what to do."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from servers.scripted_s3 import Answer, Request, ScriptedS3

from optimizer.artifacts.encryption import Encryption
from optimizer.artifacts.store import ObjectStore
from optimizer.errors import AccessDenied, ArtifactError, ConfigError, UnavailableError

URI, CONTENT = "s3://bucket/run/a.csv", b"segment_key,bid\nny|ios,1.25\n"


def refusing(status: int, code: str, **headers: str) -> ScriptedS3:
    return ScriptedS3(lambda request: Answer(status, code, headers))


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "ExpiredToken", "says that the credentials have expired (ExpiredToken: as the test says); renew them"),
        (400, "InvalidToken", "credentials have expired"),
        (400, "TokenRefreshRequired", "credentials have expired"),
        (403, "RequestTimeTooSkewed", "says that the clock of this machine is wrong"),
        (400, "AuthorizationHeaderMalformed", "is not where the bucket is"),
        (400, "IllegalLocationConstraintException", "is not where the bucket is"),
        (400, "KMS.DisabledException", "cannot use the KMS key"),
        (403, "AccessDenied", "check its credentials and their rights"),
        (403, "SignatureDoesNotMatch", "check its credentials and their rights"),
        (403, "SomethingNew", "refuses the request"),
    ],
)
@pytest.mark.parametrize("is_written", [False, True], ids=["read", "written"])
def test_what_a_retry_cannot_mend_is_said_once_with_what_to_do(status: int, code: str, said: str, is_written: bool):
    scripted = refusing(status, code)
    with scripted.client() as client, pytest.raises(ArtifactError) as raised:
        ObjectStore(client).put_bytes(URI, CONTENT) if is_written else ObjectStore(client).get_bytes(URI)
    message = str(raised.value)
    assert URI in message and code in message and said in message and client.meta.endpoint_url in message
    assert isinstance(raised.value, AccessDenied) == (code != "SomethingNew")
    assert {request.headers["amz-sdk-request"].split(";")[0] for request in scripted.requests} == {"attempt=1"}


def test_a_bucket_of_another_region_is_named_with_its_region():
    scripted = refusing(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-1"})
    with scripted.client() as client, pytest.raises(AccessDenied, match="it is in eu-west-1\\); set the region"):
        ObjectStore(client).get_bytes(URI)


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (400, "RequestTimeout"), (429, "TooManyRequests"), (400, "BadDigest")],
)
def test_what_may_pass_is_unavailable(status: int, code: str):
    scripted = refusing(status, code)
    with scripted.client() as client, pytest.raises(UnavailableError, match=f"the object store answered {code}"):
        ObjectStore(client).get_bytes(URI)


def test_a_full_store_is_called_full():
    scripted = refusing(507, "InsufficientStorage")
    with scripted.client() as client, pytest.raises(UnavailableError, match=r"is full \(InsufficientStorage"):
        ObjectStore(client).put_bytes(URI, CONTENT)


_WITH_CHECKSUM = {"x-amz-checksum-crc32": "AAAAAA=="}
"""As of the object that the store fails to read after it has sent its headers."""


def test_an_error_that_carries_the_object_s_checksum_is_tried_again():
    scripted = ScriptedS3(lambda request: None if request.number else Answer(500, "InternalError", _WITH_CHECKSUM))
    scripted.objects["/bucket/run/a.csv"] = CONTENT
    with scripted.client() as client:
        assert ObjectStore(client).get_bytes(URI) == CONTENT
    assert [request.path for request in scripted.requests] == ["/bucket/run/a.csv"] * 2


def test_an_error_that_carries_the_object_s_checksum_and_stays_is_unavailable_with_its_status():
    said = r"reading s3://bucket/run/a\.csv: the object store answered 500$"
    with (
        refusing(500, "InternalError", **_WITH_CHECKSUM).client() as client,
        pytest.raises(UnavailableError, match=said),
    ):
        ObjectStore(client).get_bytes(URI)


def test_a_byte_that_changes_on_its_way_is_found_after_the_upload(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(CONTENT)
    scripted = ScriptedS3(change=lambda content: content.replace(b"1.25", b"7.25"))
    with scripted.client() as client:
        store = ObjectStore(client)
        with pytest.raises(UnavailableError, match=f"{URI} is not what was written: it has 28 bytes with SHA-256"):
            store.put_file(URI, tmp_path / "a.csv")
        with pytest.raises(UnavailableError, match="is not what was written"):
            store.check(store.put_bytes(URI, CONTENT))


def demanding(algorithm: str) -> ScriptedS3:
    """A bucket whose policy denies what is written without this encryption."""

    def answer(request: Request) -> Answer | None:
        is_encrypted = request.headers.get("x-amz-server-side-encryption") == algorithm
        return None if request.method == "GET" or is_encrypted else Answer(403, "AccessDenied")

    return ScriptedS3(answer)


@pytest.mark.parametrize(
    "encryption", [Encryption("AES256"), Encryption("aws:kms"), Encryption("aws:kms", "alias/rtb")]
)
def test_a_bucket_that_demands_encryption_takes_what_is_written_with_it(tmp_path: Path, encryption: Encryption):
    (tmp_path / "a.csv").write_bytes(CONTENT)
    scripted = demanding(str(encryption.algorithm))
    with scripted.client() as client:
        store = ObjectStore(client, encryption)
        store.put_file(URI, tmp_path / "a.csv")
        store.put_bytes("s3://bucket/run/b.csv", CONTENT)
    written = [request.headers for request in scripted.requests if request.method == "PUT"]
    keys = [headers.get("x-amz-server-side-encryption-aws-kms-key-id") for headers in written]
    assert keys == [encryption.kms_key_id] * 2
    assert list(scripted.objects.values()) == [CONTENT] * 2


def test_a_bucket_that_demands_encryption_denies_the_rest_and_the_setting_is_named(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(CONTENT)
    with demanding("aws:kms").client() as client:
        store = ObjectStore(client)
        for write in (lambda: store.put_file(URI, tmp_path / "a.csv"), lambda: store.put_bytes(URI, CONTENT)):
            with pytest.raises(AccessDenied, match="where the bucket's policy demands encryption, set server_side_enc"):
                write()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"e": "AES-256"}, "e and k: 'AES-256' is not an encryption of S3; write one of AES256, aws:kms, aws:kms:dsse"),
        ({"e": "AES256", "k": "alias/rtb"}, "a KMS key needs the encryption aws:kms or aws:kms:dsse, not 'AES256'"),
        ({"k": "alias/rtb"}, "a KMS key needs the encryption aws:kms or aws:kms:dsse, not None"),
    ],
)
def test_an_encryption_that_s3_does_not_have_is_refused(settings: dict[str, str], said: str):
    with pytest.raises(ConfigError) as raised:
        Encryption.read(settings, algorithm="e", kms_key_id="k")
    assert said in str(raised.value)


@pytest.mark.parametrize("settings", [{}, {"e": "", "k": ""}, {"e": None}])
def test_without_an_encryption_the_default_of_the_bucket_counts(settings: dict[str, str | None]):
    assert Encryption.read(settings, algorithm="e", kms_key_id="k").fields() == {}


def test_missing_credentials_are_no_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    client = boto3.Session().client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9", config=Config())
    with pytest.raises(AccessDenied, match="Unable to locate credentials; check the credentials of the object store"):
        ObjectStore(client).get_bytes(URI)
    client.close()


def test_a_local_disk_that_cannot_take_the_file_is_not_a_silent_store(tmp_path: Path):
    """A limit of the size of files stands for a full disk: the write fails in the same way, at the same place."""
    scripted = ScriptedS3(objects={"/bucket/run/a.csv": CONTENT * 1_000})
    target = tmp_path / "a.csv"
    with scripted.client() as client:
        done = subprocess.run(
            [sys.executable, "-c", _DOWNLOAD, client.meta.endpoint_url, URI, str(target)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert f"reading {URI}: the local disk cannot take it: File too large ({tmp_path}" in done.stdout
    assert "free space there" in done.stdout and "did not answer" not in done.stdout


_DOWNLOAD = """
import resource
import sys
from pathlib import Path

import boto3

from optimizer.artifacts.store import ObjectStore
from optimizer.errors import UnavailableError

keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test only", "region_name": "us-east-1"}
store = ObjectStore(boto3.client("s3", endpoint_url=sys.argv[1], **keys))
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    store.get_file(sys.argv[2], Path(sys.argv[3]))
except UnavailableError as error:
    print(error)
"""
