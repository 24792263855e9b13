"""A browser without a window, driven through chromedriver's own protocol (W3C WebDriver: JSON over HTTP)."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1600,1000",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE_S = 60.0


def missing() -> str:
    """What a browser test lacks here; "" if nothing."""
    lacking = [p for p in ("chromium", "chromedriver") if shutil.which(p) is None]
    return f"{' and '.join(lacking)} not installed (Debian: chromium chromium-driver)" if lacking else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(address: str, seconds: float = PATIENCE_S) -> None:
    """Wait for a server."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(address) from None
            time.sleep(0.2)
        else:
            return


class Browser:
    """One browser window; a link that opens another is followed there."""

    def __init__(self, address: str) -> None:
        self.address = address
        options = {"binary": shutil.which("chromium"), "args": list(FLAGS)}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self.session = f"{address}/session/{self._ask('POST', f'{address}/session', wanted)['sessionId']}"

    def go(self, address: str) -> None:
        self._post("url", {"url": "about:blank"})  # a change behind the # alone would load nothing
        self._post("url", {"url": address})

    def show(self, width: int, theme: str, height: int = 900) -> None:
        """From now on pages are as wide, in pixels, and as light or dark, as on such a device."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        told = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self._devtools("Emulation.setEmulatedMedia", told)

    def run(self, script: str) -> Any:
        return self._post("execute/sync", {"script": script, "args": []})

    def wait(self, script: str) -> Any:
        """What the promise that a script returns resolves to."""
        whole = f"const end = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(end);"
        return self._post("execute/async", {"script": whole, "args": []})

    def find(self, xpath: str) -> str:
        """The first visible element, waited for."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for found in self._post("elements", {"using": "xpath", "value": xpath}):
                if self._get(f"element/{found[ELEMENT]}/displayed"):
                    return str(found[ELEMENT])
            time.sleep(0.3)
        raise AssertionError(f"{xpath} is not on the page {self.url()}:\n{self.text()[:3000]}")

    def click(self, xpath: str) -> None:
        for attempt in range(10):
            try:
                self._post(f"element/{self.find(xpath)}/click", {})
                break
            except AssertionError as error:  # a table that loads draws its rows anew
                if attempt == 9 or not any(w in str(error) for w in ("stale element", "intercepted", "interactable")):
                    raise
                time.sleep(0.5)
        time.sleep(0.5)
        self._post("window", {"handle": self._get("window/handles")[-1]})

    def read(self, xpath: str) -> str:
        return str(self._get(f"element/{self.find(xpath)}/text"))

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def url(self) -> str:
        return str(self._get("url"))

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._get("screenshot")))

    def close(self) -> None:
        self._ask("DELETE", self.session, None)

    def _devtools(self, command: str, told: Any) -> None:
        self._post("goog/cdp/execute", {"cmd": command, "params": told})

    def _post(self, what: str, body: Any) -> Any:
        return self._ask("POST", f"{self.session}/{what}", body)

    def _get(self, what: str) -> Any:
        return self._ask("GET", f"{self.session}/{what}", None)

    @staticmethod
    def _ask(method: str, address: str, body: Any) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {address}: {error.read().decode()[:500]}") from error


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile for as long as the block lasts. folder: for the driver's log."""
    port = free_port()
    with (folder / "chromedriver.log").open("w") as log:
        process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log)
    try:
        answers(f"http://127.0.0.1:{port}/status")
        opened = Browser(f"http://127.0.0.1:{port}")
        try:
            yield opened
        finally:
            opened.close()
    finally:
        process.terminate()
        process.wait(30)
