"""What each library of an object store is told, from the environment alone: credentials, endpoint, patience. Pure."""

import json
from typing import Any, Callable, Dict, Mapping

from whisper_finetune_trainer.messages.errors import TrainerError

#: Any of them means that somebody has given credentials; without, what is public can still be read.
_AWS_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 60
#: With pauses of up to 1, 2, 4, 8 and 16 s between them.
_TRIES = 6
PART_BYTES = 16 << 20
#: Parts under way at once: so many times PART_BYTES are in memory.
_PARTS_AT_ONCE = 4


def _s3_options(environment: Mapping[str, str]) -> Dict[str, Any]:
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    return {
        "anon": not any(environment.get(name) for name in _AWS_CREDENTIALS),
        # Given here, so that other credentials open another filesystem.
        "key": environment.get("AWS_ACCESS_KEY_ID"),
        "secret": environment.get("AWS_SECRET_ACCESS_KEY"),
        "token": environment.get("AWS_SESSION_TOKEN") or None,
        "endpoint_url": environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None,
        "client_kwargs": {"region_name": region} if region else {},
        "default_block_size": PART_BYTES,
        "max_concurrency": _PARTS_AT_ONCE,
        "config_kwargs": {
            "retries": {"mode": "standard", "max_attempts": _TRIES},
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _ANSWER_SECONDS,
            # Stores that are not Amazon's refuse the newer checksums; the manifests hold our own.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    }


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
