"""Open an address of an object store (s3://, gs://, az://, hf://) by fsspec, and explain what its errors mean.

Credentials and endpoint come from the environment only, where the Secrets of spec.secretRefs put them.
"""

import importlib
import importlib.util
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Set, Tuple

from whisper_finetune_api import addresses
from whisper_finetune_api.causes import Reason
from whisper_finetune_trainer.messages import errors
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.stores import store_faults

#: For each scheme the library that opens it, and the extra of this package that installs the library.
_LIBRARIES = {
    "s3": ("s3fs", "trainer"),
    "gs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "hf": ("huggingface_hub", "trainer"),
}
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN where they are temporary)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "HF_TOKEN",
}
#: An IPv6 host stands in brackets.
_ENDPOINT = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^\s?#@]*)?")
_NO_REASON = ("400", "403", "404")
#: Each of these variables means that there are credentials. Without credentials, public data can still be read.
_AWS_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 60
#: The pauses between them are up to 1, 2, 4, 8 and 16 s.
_TRIES = 6
PART_BYTES = 16 << 20
#: How many parts are on their way at once. Each takes PART_BYTES of memory.
_PARTS_AT_ONCE = 4


@dataclass(frozen=True)
class Store:
    """An opened address of an object store. It may be copied to another process, which opens its own connections."""

    address: str
    field: str
    scheme: str
    #: Bucket and path, as fsspec names them.
    root: str

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem of this process with these credentials."""
        return _filesystem(*self._access, os.getpid())

    @property
    def part_options(self) -> Dict[str, Any]:
        """The arguments that tell `put_file` the size of parts."""
        return {"chunksize": PART_BYTES} if self.scheme == "s3" else {}

    def path(self, relative: str = "") -> str:
        """Return fsspec's path for a path relative to the address."""
        return f"{self.root}/{relative}".rstrip("/") if relative else self.root

    @contextmanager
    def explained(self, missing: Reason, refused: Reason = "AccessDenied") -> Iterator[None]:
        """Turn permanent faults into TrainerErrors.

        The reason is `missing` for what does not exist, and `refused` where the credentials lack the right. A fault
        that may be gone at the next try passes through, after the library's own tries.

        So does a refusal of credentials that were accepted before in this attempt. They have expired or were replaced,
        and the next attempt's pod reads the Secret anew.
        """
        try:
            yield
        except TrainerError:
            raise
        except Exception as error:
            reason = self._with_reason(error)
            if store_faults.fault_meaning(reason) == "credentials" and self._access in _good:
                if reason is error:
                    raise
                raise reason from error
            explained = self._in_words(reason, missing, refused)
            if explained is None:
                raise
            raise explained from error
        _good.add(self._access)

    def explain(
        self, error: BaseException, missing: Reason, refused: Reason = "AccessDenied"
    ) -> Optional[TrainerError]:
        """Return the TrainerError of a permanent fault, or None for any other. Reasons are as in `explained`."""
        return self._in_words(self._with_reason(error), missing, refused)

    @property
    def _access(self) -> Tuple[str, str]:
        """The scheme, and the filesystem's options (endpoint and credentials) as JSON."""
        return self.scheme, json.dumps(BY_SCHEME[self.scheme](os.environ))

    def _in_words(self, error: BaseException, missing: Reason, refused: Reason) -> Optional[TrainerError]:
        meaning = store_faults.fault_meaning(error)
        if meaning is None:
            return None
        code = store_faults.fault_code(error)
        words = f" ({code})" if code else ""
        if meaning == "credentials":
            return TrainerError(
                "AccessDenied",
                f"{self.field}: the store refuses the credentials for {self.address}{words}: {_line(error)}; "
                f"give {_KEYS[self.scheme]} by spec.secretRefs",
            )
        if meaning == "certificate":
            return TrainerError(
                "ConfigInvalid",
                f"{self.field}: the certificate of the store at {self.address} is not trusted: {_line(error)}; "
                f"{store_faults.CERTIFICATE_ADVICE}",
            )
        if meaning == "rights":
            return TrainerError(
                refused,
                f"{self.field}: these credentials have no right to {self.address}{words}: {_line(error)}; "
                f"give them the right, or others by spec.secretRefs ({_KEYS[self.scheme]})",
            )
        if meaning == "full":
            return TrainerError(
                "OutputNotWritable", f"{self.field}: the store at {self.address} is full{words}: {_line(error)}"
            )
        return TrainerError(missing, f"{self.field}: {self._what_is_missing(code)} ({_line(error)})")

    def _with_reason(self, error: BaseException) -> BaseException:
        # fsspec may send a HEAD request first. Its answer has a status and no reason. The answer to a list has one.
        if self.scheme != "s3" or store_faults.fault_code(error) not in _NO_REASON:
            return error
        try:
            self.filesystem.call_s3("list_objects_v2", Bucket=self.root.split("/", 1)[0], MaxKeys=1)
        except OSError as reason:
            return reason
        return error

    def _what_is_missing(self, code: Optional[str]) -> str:
        if code in ("NoSuchBucket", "ContainerNotFound"):
            bucket = self.root.split("/", 1)[0]
            return (
                f"bucket {bucket} of {self.address} does not exist; make it, or correct the address or AWS_ENDPOINT_URL"
            )
        return f"there is nothing at {self.address}, or these credentials may not see it"


def open_store(address: str, field: str) -> Store:
    """Return the opened address. Nothing is sent yet. `field` is the field of the spec that has it.

    Raises ConfigInvalid where it is not an address of an object store, or where the image lacks the store's library.
    """
    parsed = addresses.parse_address(address)
    if parsed is None or parsed.scheme not in _LIBRARIES:
        raise TrainerError(
            "ConfigInvalid", f"{field}: {address} is not an address of an object store (s3, gs, az or hf)"
        )
    library, extra = _LIBRARIES[parsed.scheme]
    if importlib.util.find_spec(library) is None:
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: {parsed.scheme}:// needs {library}, which is not in this image; "
            f"build one with the extra `{extra}` (docs/storage.md), or take another address",
        )
    holder = f"datasets/{parsed.authority}" if parsed.scheme == "hf" else parsed.authority
    return Store(address, field, parsed.scheme, "/".join(part for part in (holder, parsed.path) if part))


_opened: Dict[Any, Any] = {}
#: Credentials that a store has accepted in this attempt. A loader's process that is forked off knows them too.
_good: Set[Tuple[str, str]] = set()


def _filesystem(scheme: str, options: str, process: int) -> Any:
    # A loader's process that was forked off must not use the connections of its parent.
    key = (scheme, options, process)
    if key not in _opened:
        # fsspec and the stores' libraries take a second to load, and most runs need none.
        fsspec = importlib.import_module("fsspec")
        _forget_other_processes(process)
        # Other processes write to the same addresses, so an old listing may be wrong.
        _opened[key] = fsspec.filesystem(
            scheme, use_listings_cache=False, skip_instance_cache=True, **json.loads(options)
        )
    return _opened[key]


def _forget_other_processes(process: int) -> None:
    inherited = [key for key in _opened if key[-1] != process]
    for key in inherited:
        _opened.pop(key, None)
    reset = getattr(importlib.import_module("fsspec.asyn"), "reset_lock", None)
    if inherited and reset is not None:
        # fsspec on Python 3.8 believes that its thread was forked off too. It would wait for that thread without end.
        reset()


def _line(error: BaseException) -> str:
    return errors.words_of(error)


def _s3_options(environment: Mapping[str, str]) -> Dict[str, Any]:
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return {
        "anon": not any(environment.get(name) for name in _AWS_CREDENTIALS),
        # The library would find these by itself. Given here, other credentials open another filesystem.
        "key": environment.get("AWS_ACCESS_KEY_ID"),
        "secret": environment.get("AWS_SECRET_ACCESS_KEY"),
        "token": environment.get("AWS_SESSION_TOKEN") or None,
        "endpoint_url": _endpoint(environment),
        "client_kwargs": {"region_name": region} if region else {},
        "default_block_size": PART_BYTES,
        "max_concurrency": _PARTS_AT_ONCE,
        "config_kwargs": {
            "retries": {"mode": "standard", "max_attempts": _TRIES},
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _ANSWER_SECONDS,
            # Stores other than Amazon's refuse the newer checksums. The manifests hold the trainer's own.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    }


def _endpoint(environment: Mapping[str, str]) -> Optional[str]:
    """Return the address of the store's server, None for Amazon's own. Raises ConfigInvalid.

    The library finds a wrong one out at its first request, and calls that a fault of the network.
    """
    name = next((name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if environment.get(name)), None)
    if name is None:
        return None
    # A value that was piped into a Secret ends with a line break.
    endpoint = environment[name].strip()
    if not _ENDPOINT.fullmatch(endpoint):
        # It is not quoted, because it may hold a password.
        raise TrainerError(
            "ConfigInvalid",
            f"{name} is not of the form https://HOST:PORT; put a user and password into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY",
        )
    return endpoint


def _gs_options(environment: Mapping[str, str]) -> Dict[str, Any]:
    given = environment.get("GOOGLE_APPLICATION_CREDENTIALS_JSON")
    try:
        return {"token": json.loads(given)} if given else {}
    except ValueError:
        raise TrainerError(
            "ConfigInvalid", "GOOGLE_APPLICATION_CREDENTIALS_JSON is not JSON: give a key file's content"
        ) from None


def _az_options(environment: Mapping[str, str]) -> Dict[str, Any]:
    return {
        "account_name": environment.get("AZURE_STORAGE_ACCOUNT_NAME"),
        "account_key": environment.get("AZURE_STORAGE_ACCOUNT_KEY"),
        "sas_token": environment.get("AZURE_STORAGE_SAS_TOKEN"),
        "connection_string": environment.get("AZURE_STORAGE_CONNECTION_STRING"),
    }


BY_SCHEME: Dict[str, Callable[[Mapping[str, str]], Dict[str, Any]]] = {
    "s3": _s3_options,
    "gs": _gs_options,
    "az": _az_options,
    "hf": lambda _environment: {},
}
