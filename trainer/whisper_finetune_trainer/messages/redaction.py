"""Take secrets out of texts: the values of secret environment variables, and everything that looks like one. Pure.

A message could contain one by accident, for example an address with a password that a library repeats.
"""

import base64
import json
import re
from functools import lru_cache
from typing import Any, Dict, Iterator, Mapping, Tuple
from urllib.parse import quote, quote_plus, urlsplit

#: A variable is secret if one of these is a whole word of its name. TOKENIZERS_PARALLELISM has none of them.
_SECRET_WORDS = frozenset(("TOKEN", "PASSWORD", "KEY", "SECRET", "CREDENTIALS"))
_SECRET_NAMES = frozenset(("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "AZURE_STORAGE_CONNECTION_STRING"))
#: The names of variables that only say where a secret is end like this.
_PATH_ENDINGS = ("_FILE", "_PATH", "_DIR")
#: A shorter value could be a part of other words.
_SHORTEST = 6
_HIDDEN = "[hidden]"
#: Libraries repeat these parts of a secret by themselves: parts of a connection string, and fields of a key file.
_PART = re.compile(r"(?:AccountKey|SharedAccessSignature|sig)=([^;&\s]+)")
_SECRET_FIELDS = ("private_key", "private_key_id", "client_secret", "refresh_token")
_PARAMETERS = "sig|Signature|[Xx]-[Aa]mz-(?:Signature|Security-Token|Credential)|AWSAccessKeyId|access_token|token"
_FIELDS = "secret_access_key|session_token|account_key|api_key|password|private_key"
#: No pattern searches for its end from each of n positions in a text, which would cost n².
_PATTERNS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(?P<kept>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s/@\"'<>]+(?=@)",
        r"(?P<kept>)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"(?P<kept>)\b(?:hf|gh[pousr]|api_org)_[A-Za-z0-9]{16,}",
        r"(?P<kept>)(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
        r"(?P<kept>)\bya29\.[\w.-]{16,}",
        r"(?P<kept>-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)",
        r"(?P<kept>(?i:authorization)[\"']?\s*[:=]\s*[\"']?)(?:(?i:basic|bearer|token)\s+)?[^\s\"',]+",
        r"(?P<kept>\bBearer\s+)[\w.~+/=-]{8,}",
        r"(?P<kept>\b(?:AccountKey|SharedAccessSignature)=)[^;\s\"']+",
        rf"(?P<kept>[?&](?:{_PARAMETERS})=)[^&\s\"']+",
        rf"(?P<kept>(?i:{_FIELDS})[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]{{4,}}",
    )
)


def is_secret(name: str) -> bool:
    """Return whether the value of an environment variable is secret, by its name."""
    if name.endswith(_PATH_ENDINGS):
        return False
    return name in _SECRET_NAMES or bool(_SECRET_WORDS.intersection(name.upper().split("_")))


def secrets_of(environment: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables whose values are secret."""
    return {name: value for name, value in environment.items() if value and is_secret(name)}


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """Return a text without the secrets of an environment, plain or encoded, and without what looks like a secret.

    A known secret becomes `$NAME` of its variable, any other one `[hidden]`.
    """
    known = _known(tuple(sorted(secrets_of(environment).items())))
    for value, name in known:
        text = text.replace(value, f"${name}")
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: found["kept"] + _HIDDEN, text)
    return text


@lru_cache(maxsize=8)
def _known(secrets: Tuple[Tuple[str, str], ...]) -> Tuple[Tuple[str, str], ...]:
    """Return (spelling, name) of each secret. The longest come first, because one may be a part of another."""
    spellings = {
        spelling: name
        for name, value in secrets
        for part in (value, *_parts(value))
        for spelling in _spellings(part)
        if len(spelling) >= _SHORTEST and spelling.lower() not in {"false", "disabled", "enabled"}
    }
    return tuple(sorted(spellings.items(), key=lambda pair: -len(pair[0])))


def _parts(value: str) -> Iterator[str]:
    """Yield the parts of a value that are secret by themselves."""
    yield from _PART.findall(value)
    if "://" in value:
        address = urlsplit(value.strip())
        yield from (part for part in (address.username, address.password) if part)
    for field in _SECRET_FIELDS:
        found = _fields(value).get(field)
        if isinstance(found, str):
            yield found
            # A key of several lines is repeated line by line.
            yield from found.splitlines()


def _fields(value: str) -> Mapping[str, Any]:
    try:
        found = json.loads(value) if value.lstrip().startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _spellings(value: str) -> Iterator[str]:
    encoded = value.encode(errors="surrogateescape")
    yield value
    yield value.strip()
    yield json.dumps(value)[1:-1]
    yield quote(encoded, safe="")
    yield quote_plus(encoded)
    yield base64.b64encode(encoded).decode().rstrip("=")
    yield base64.urlsafe_b64encode(encoded).decode().rstrip("=")
