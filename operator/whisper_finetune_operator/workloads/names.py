"""The name of a run's child."""

import hashlib

#: The IPU operator refuses longer names.
CHILD_NAME_MAX_LENGTH = 36
_HASH_LENGTH = 8


def child_name(name: str, uid: str) -> str:
    """Return the DNS label of the run's one child: a run made again under its name has another UID and child."""
    digest = hashlib.sha256(uid.encode()).hexdigest()[:_HASH_LENGTH]
    room = CHILD_NAME_MAX_LENGTH - _HASH_LENGTH - 1
    return f"{name.replace('.', '-')[:room].rstrip('-')}-{digest}"
