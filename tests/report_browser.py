"""Headless Chromium, driven by chromedriver over plain HTTP (the W3C WebDriver protocol)."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


def missing() -> str | None:
    """Why there is no browser here, or None."""
    absent = [name for name, path in (("Chromium", _chromium()), ("chromedriver", _driver())) if path is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def _driver() -> str | None:
    return shutil.which("chromedriver")


class Browser:
    """One window."""

    def __init__(self, session: str):
        self._session = session

    def open(self, page: Path, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Load a file in a window of that width, as a phone's or a desktop's screen would."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._post("url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """The value of a script's `return`."""
        return self._post("execute/sync", {"script": script, "args": []})

    def console(self) -> list[str]:
        """Warnings and errors since the last call, failed and refused loads among them."""
        return [entry["message"] for entry in self._post("se/log", {"type": "browser"})]

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        found = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        path.write_bytes(base64.b64decode(found["data"]))

    def _devtools(self, command: str, parameters: dict) -> Any:
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: dict) -> Any:
        return _request(f"{self._session}/{path}", body)


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile folder; it and its driver end with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        [str(_driver()), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        server = f"http://127.0.0.1:{port}"
        _wait_for(server)
        options = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": _chromium(),
                "args": [*FLAGS, f"--user-data-dir={profile}"],
            },
            "goog:loggingPrefs": {"browser": "WARNING"},
        }
        created = _request(f"{server}/session", {"capabilities": {"alwaysMatch": options}})
        session = f"{server}/session/{created['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _request(session, None, "DELETE")
    finally:
        driver.terminate()
        driver.wait()


def _wait_for(server: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            if _request(f"{server}/status", None, "GET")["ready"]:
                return
        time.sleep(0.1)
    raise TimeoutError("chromedriver did not start")


def _request(url: str, body: dict | None, method: str = "POST") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # No proxy: the driver listens on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)["value"]
