"""Which failures of a write are the volume's: full, over quota, read-only, not ours."""

import errno
import os
import re
from typing import Optional

CANNOT_WRITE = frozenset(
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    )
)
#: safetensors is written in Rust and keeps the number in its text only.
_RUST_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


def cannot_write(error: BaseException) -> Optional[str]:
    """Return the system's words for a failure that writing again would meet again, or None for any other."""
    number = error.errno if isinstance(error, OSError) else _number_in_text(error)
    return os.strerror(number) if number in CANNOT_WRITE and number is not None else None


def _number_in_text(error: BaseException) -> Optional[int]:
    found = _RUST_ERROR_NUMBER.search(str(error))
    return int(found[1]) if found else None
