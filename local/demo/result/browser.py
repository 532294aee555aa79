"""Debian's Chromium without a screen, driven by Playwright. It needs no network."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

from cluster.faults import ClusterError
from cluster.programs import debian_packages

_PROGRAM = "chromium"


def why_not() -> str | None:
    """Return why there is no Chromium, once it could not be installed either; None where there is one."""
    try:
        debian_packages.install_missing({_PROGRAM: "chromium"})
    except ClusterError as error:
        return f"no Chromium: {error}"
    return None


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """Yield a browser that ends with the context."""
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses root, which the tests of the cluster need to be; the pages here are the test's.
        browser = playwright.chromium.launch(executable_path=shutil.which(_PROGRAM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
