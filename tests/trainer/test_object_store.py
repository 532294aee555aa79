"""Addresses of object stores on a real S3 server: what can be opened, and what the server's errors mean."""

from __future__ import annotations

import json
import os
import pickle
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from object_store import versitygw
from object_store.versitygw import ObjectStore
from store_doubles import fault_proxy
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.stores import hub, object_store

pytestmark = pytest.mark.slow

READ = ["s3:GetObject", "s3:ListBucket"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with versitygw.serving(tmp_path_factory.mktemp("store")) as store:
        store.filesystem.mkdir("speech")
        store.filesystem.pipe("speech/clips/a.wav", b"sound")
        yield store


def set_keys(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def store(served: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """Return the store whose keys are in this process's environment."""
    set_keys(monkeypatch, served)
    return served


def refusal(address: str, field: str = "dataset.source", missing: str = "DatasetNotFound") -> TrainerError:
    """Return what becomes of a list of the address."""
    opened = object_store.open_store(address, field)
    with pytest.raises(TrainerError) as raised, opened.explained(missing):
        opened.filesystem.ls(opened.path(), detail=False)
    return raised.value


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000",
        "minio",
        "http://anna:PASSW0RD@minio:9000",
        "ftp://minio",
        "http://",
        "https://a b",
        "http://minio:port",
    ],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_no_address_is_not_tried(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    monkeypatch.setenv(name, endpoint)
    error = refusal("s3://speech/clips")
    assert error.reason == "ConfigInvalid"
    assert error.message == (
        f"{name} is not of the form https://HOST:PORT; put a user and password into AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY"
    )


@pytest.mark.parametrize("endpoint", ["https://s3.example.org", "http://[::1]:9000", "https://gate_1.local/s3/"])
def test_an_endpoint_may_be_any_address(endpoint: str) -> None:
    for given in (endpoint, f"{endpoint}\n"):
        assert object_store.BY_SCHEME["s3"]({"AWS_ENDPOINT_URL": given})["endpoint_url"] == endpoint


def test_what_lies_below_an_address_is_read(store: ObjectStore) -> None:
    opened = object_store.open_store("s3://speech/clips/", "dataset.source")
    assert opened.filesystem.ls(opened.path(), detail=False) == ["speech/clips/a.wav"]
    assert opened.filesystem.cat_file(opened.path("a.wav")) == b"sound"


def test_an_opened_address_goes_to_a_process_that_is_forked_off(store: ObjectStore) -> None:
    opened = object_store.open_store("s3://speech/clips", "dataset.source")
    assert opened.filesystem.cat_file(opened.path("a.wav")) == b"sound"
    sent = pickle.dumps(opened)
    assert store.secret_key.encode() not in sent
    child = os.fork()
    if child == 0:
        received = pickle.loads(sent)  # noqa: S301 -- made a line above
        os._exit(0 if received.filesystem.cat_file(received.path("a.wav")) == b"sound" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_bucket_that_does_not_exist_is_named(store: ObjectStore) -> None:
    error = refusal("s3://speach/clips")
    assert error.reason == "DatasetNotFound"
    assert "bucket speach of s3://speach/clips does not exist" in error.message


def test_a_folder_that_does_not_exist_is_named(store: ObjectStore) -> None:
    error = refusal("s3://speech/model", "model", "ModelNotFound")
    assert error.reason == "ModelNotFound"
    assert error.message.startswith("model: there is nothing at s3://speech/model")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys_are_denied(store: ObjectStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "wrong")
    error = refusal("s3://speech/clips")
    assert error.reason == "AccessDenied"
    assert "the store refuses the credentials for s3://speech/clips" in error.message
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error.message


def test_without_keys_only_what_is_public_can_be_read(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = refusal("s3://speech/clips")
    assert error.reason == "AccessDenied"
    allow(store, "*", READ)
    opened = object_store.open_store("s3://speech/clips", "dataset.source")
    assert opened.filesystem.cat_file(opened.path("a.wav")) == b"sound"


def allow(store: ObjectStore, who: str, actions: list[str]) -> None:
    """Give somebody rights by the policy of the bucket `speech`."""
    resources = ["arn:aws:s3:::speech", "arn:aws:s3:::speech/*"]
    statement = {"Effect": "Allow", "Principal": {"AWS": [who]}, "Action": actions, "Resource": resources}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    store.filesystem.call_s3("put_bucket_policy", Bucket="speech", Policy=policy)


def test_what_keys_have_no_right_to_is_said(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    user = store.make_user()
    set_keys(monkeypatch, user)
    allow(store, user.access_key, READ)
    opened = object_store.open_store("s3://speech/runs", "output.uri")
    with pytest.raises(TrainerError) as raised, opened.explained("OutputNotWritable", refused="OutputNotWritable"):
        opened.filesystem.pipe_file(opened.path("probe"), b"?")
    assert raised.value.reason == "OutputNotWritable"
    assert "these credentials have no right to s3://speech/runs (AccessDenied)" in raised.value.message


def test_a_token_that_has_expired_is_denied(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_proxy.before(store.endpoint) as proxy:
        set_keys(monkeypatch, store.behind(proxy.endpoint))
        proxy.refuse(lambda _: True, 400, "ExpiredToken")
        error = refusal("s3://speech/clips")
    assert error.reason == "AccessDenied"
    assert "(ExpiredToken)" in error.message


class AzureError(Exception):
    """As azure-core has it for a signature (SAS) that has expired."""

    error_code = "AuthenticationFailed"


def s3_refusal(code: str) -> Exception:
    return ClientError({"Error": {"Code": code, "Message": "the test says so"}}, "GetObject")


CREDENTIALS = [
    *map(s3_refusal, ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "RequestTimeTooSkewed")),
    AzureError("Signature not valid in the specified time frame"),
]


@pytest.mark.parametrize("refusal", CREDENTIALS, ids=["expired", "invalid", "replaced", "skewed", "expired SAS"])
def test_credentials_that_were_good_before_are_for_the_next_attempt(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", secrets.token_hex(8))
    opened = object_store.open_store("s3://speech/clips", "dataset.source")
    with pytest.raises(TrainerError) as raised, opened.explained("DatasetInvalid"):
        raise refusal
    assert raised.value.reason == "AccessDenied"
    with opened.explained("DatasetInvalid"):
        pass
    with pytest.raises(type(refusal)), opened.explained("DatasetInvalid"):
        raise refusal


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
def test_a_busy_store_is_asked_again(
    store: ObjectStore, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault_proxy.before(store.endpoint) as proxy:
        set_keys(monkeypatch, store.behind(proxy.endpoint))
        fault = proxy.refuse(lambda _: True, status, code, times=2)
        opened = object_store.open_store("s3://speech/clips", "dataset.source")
        assert opened.filesystem.cat_file(opened.path("a.wav")) == b"sound"
    assert fault.seen == 2


def test_a_network_that_fails_passes_through(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_TRIES", 1)
    with fault_proxy.before(store.endpoint) as proxy:
        set_keys(monkeypatch, store.behind(proxy.endpoint))
        proxy.cut(lambda _: True)
        opened = object_store.open_store("s3://speech/clips", "dataset.source")
        with pytest.raises(Exception, match="closed") as raised, opened.explained("DatasetNotFound"):
            opened.filesystem.cat_file(opened.path("a.wav"))
    assert not isinstance(raised.value, TrainerError)


@pytest.mark.parametrize("address", ["openai/whisper-tiny", "pvc://claim/path"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(TrainerError, match="is not an address of an object store") as raised:
        object_store.open_store(address, "model")
    assert raised.value.reason == "ConfigInvalid"


def test_a_library_that_is_not_in_the_image_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(TrainerError, match=r"gs:// needs gcsfs, which is not in this image.*`gcs`"):
        object_store.open_store("gs://bucket/model", "model")


def test_nothing_is_sent_when_an_address_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert object_store.open_store("s3://bucket", "model").path("a/b") == "bucket/a/b"


def _raised(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


_UNTRUSTED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1000)"


@pytest.mark.parametrize(
    "error",
    [
        OSError(f"SSL validation failed for https://store:9000/b {_UNTRUSTED}"),
        _raised(ConnectionError("cannot connect to the store"), ssl.SSLCertVerificationError(1, _UNTRUSTED)),
        _raised(FileNotFoundError("b/x"), OSError(_UNTRUSTED)),
    ],
    ids=["as botocore says it", "as aiohttp and httpx chain it", "behind what the filesystem makes of it"],
)
def test_a_certificate_of_an_unknown_authority_is_not_tried_again(error: Exception) -> None:
    opened = object_store.open_store("s3://speech/it", "dataset.source")
    with pytest.raises(TrainerError) as caught, opened.explained("DatasetNotFound"):
        raise error
    assert caught.value.reason == "ConfigInvalid"
    said = caught.value.message
    assert said.startswith("dataset.source: the certificate of the store at s3://speech/it is not trusted: ")
    assert "into the runtime's caBundle; on a workstation name a file that has it in AWS_CA_BUNDLE" in said


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF occurred"), ConnectionResetError(104, "reset by peer")])
def test_other_faults_of_a_connection_are_tried_again(error: Exception) -> None:
    opened = object_store.open_store("s3://speech/it", "dataset.source")
    with pytest.raises(type(error)), opened.explained("DatasetNotFound"):
        raise error


def test_a_certificate_of_the_hub_is_not_tried_again() -> None:
    asked = hub.explain_hub_faults(
        "model", "team/x", None, missing="ModelNotFound", page="https://huggingface.co/team/x"
    )
    with pytest.raises(TrainerError, match="read team/x: the certificate of the Hub is not trusted") as caught, asked:
        raise _raised(FileNotFoundError("offline"), ssl.SSLCertVerificationError(1, _UNTRUSTED))
    assert caught.value.reason == "ConfigInvalid"
