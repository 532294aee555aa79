"""The log: plain lines with the time, on stderr."""

import logging

_LINE = "%(asctime)s %(levelname)s %(message)s"
#: Their lines at INFO tell about themselves, not about the run.
_QUIET = ("httpx", "httpcore", "urllib3", "filelock", "numba", "fsspec")


def start(level: int = logging.INFO) -> None:
    """Write the log of this process to stderr from now on."""
    logging.basicConfig(level=level, format=_LINE, datefmt="%Y-%m-%dT%H:%M:%S%z")
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
