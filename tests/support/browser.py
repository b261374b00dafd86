"""Debian's chromium, headless, with a new profile each time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-default-apps --disable-extensions --force-color-profile=srgb --disable-dev-shm-usage"
)
_PATIENCE = 30.0  # seconds


def require() -> tuple[str, str]:
    """The paths of chromium and its driver; skips the test if one of them is missing.

    With MAILBACKENDS_TESTS_CHROMIUM set, as in ``.ci/run``, it fails instead.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium and driver:
        return chromium, driver
    reason = "chromium and chromium-driver are not installed here (apt-get install both)"
    if os.environ.get("MAILBACKENDS_TESTS_CHROMIUM"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def browser(profile: Path, downloads: Path) -> Iterator[Browser]:
    """A browser with an empty profile in ``profile``."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = require()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The path of the driver is given: selenium must not look for one to download.
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()


class Browser:
    """A browser with the actions of a person."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def look_like(self, width: int, height: int, colours: str) -> None:
        """A screen of this size in CSS pixels, in ``"light"`` or ``"dark"``."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        feature = {"name": "prefers-color-scheme", "value": colours}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, url: str) -> None:
        """Go there."""
        self.driver.get(url)

    def one(self, selector: str) -> Any:
        """The element, as soon as there is one."""
        return wait_for(lambda: self.all(selector))[0]

    def all(self, selector: str) -> list[Any]:
        """All matching elements in the page now."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def text(self, selector: str) -> str:
        """The text of the first matching element; empty if there is none."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.driver.execute_script(script, selector))

    def run(self, script: str) -> Any:
        """What JavaScript returns in the page, or in the frame that was entered."""
        return self.driver.execute_script(script)

    @contextmanager
    def inside(self, selector: str) -> Iterator[None]:
        """Within the block everything applies to the document in this frame."""
        self.driver.switch_to.frame(self.one(selector))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def complaints(self) -> list[str]:
        """The messages on the browser's console since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def picture(self, path: Path) -> None:
        """The screen as a PNG."""
        path.write_bytes(self.driver.get_screenshot_as_png())


def wait_for(look: Callable[[], T]) -> T:
    """The result of ``look``, as soon as it is true."""
    end = time.monotonic() + _PATIENCE
    while not (seen := look()):
        assert time.monotonic() < end, f"nothing within {_PATIENCE} seconds"
        time.sleep(0.02)
    return seen
