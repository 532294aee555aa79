"""Addresses of models, data sets and outputs: a Hub id, or `scheme://authority/path`."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Mapping, Optional

_HUB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?"
_CLAIM = r"pvc://[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_BUCKET = r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{1,253}"
_REPOSITORY = r"hf://[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_PATH = r"(/[A-Za-z0-9._+=@-]+)*/?"

MODEL_PATTERN = f"^({_HUB_ID}|{_CLAIM}{_PATH}|{_BUCKET}{_PATH})$"
SOURCE_PATTERN = f"^({_HUB_ID}|{_CLAIM}{_PATH}|{_BUCKET}{_PATH}|{_REPOSITORY}{_PATH})$"
OUTPUT_PATTERN = f"^({_CLAIM}{_PATH}|{_BUCKET}{_PATH}|{_REPOSITORY})$"
#: No part of a path may lead upwards. RE2 cannot say so in the patterns above.
NO_PARENT_RULE = "!self.matches('(^|/)[.][.]?(/|$)')"

_SCHEME = re.compile(r"^(?P<scheme>[a-z0-9]+)://(?P<authority>[^/]+)(?P<path>.*)$")


@dataclass(frozen=True)
class Address:
    """The parts of `scheme://authority/path`.

    The authority is a claim for pvc, an owner for hf, and a bucket or container for the others.
    """

    scheme: str
    authority: str
    path: str

    def child(self, relative: str) -> str:
        """Return the address of `relative` below this one, as text."""
        return "/".join(part for part in (f"{self.scheme}://{self.authority}", self.path, relative) if part)


def parse_address(text: str) -> Optional[Address]:
    """Return the parts of an address, or None for a Hub id."""
    found = _SCHEME.match(text)
    return Address(found["scheme"], found["authority"], found["path"].strip("/")) if found else None


def known_as(text: str) -> str:
    """Return the one spelling of an address. The Hub knows its repositories in any case, and by hf:// too."""
    address = parse_address(text)
    if address is None:
        return text.lower()
    is_repository = address.scheme == "hf"
    whole = f"{address.authority}/{address.path}"
    return whole.lower() if is_repository else f"{address.scheme}://{whole}".rstrip("/")


def claim_of(text: str) -> Optional[str]:
    """Return the PersistentVolumeClaim that an address names, or None where it names none."""
    address = parse_address(text)
    return address.authority if address and address.scheme == "pvc" else None


def local_path(text: str, volumes: Mapping[str, str]) -> str:
    """Return the folder of a `pvc://` address, given where claims are mounted.

    Raises KeyError with the name of a claim that is not mounted, and ValueError for an address of another scheme.
    """
    address = parse_address(text)
    if address is None or address.scheme != "pvc":
        raise ValueError(f"{text} is not a pvc:// address")
    return str(PurePosixPath(volumes[address.authority]) / address.path)
