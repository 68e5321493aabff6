"""Headless Firefox for the tests of pages, driven by Marionette, its own protocol: with the manners of ``Chromium``."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One tab. Source of the protocol: https://firefox-source-docs.mozilla.org/testing/marionette/."""

    def __init__(self, program: str, *, timeout_s: float = 90.0) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in _PREFERENCES.items()]
        lines.append(f'user_pref("marionette.port", {port});')
        (Path(self._profile.name) / "user.js").write_text("\n".join(lines))
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--marionette", "--profile", self._profile.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._buffer = b""
        self._n_sent = 0
        self._socket = self._connect(port)
        assert self._read()["marionetteProtocol"] == 3
        self.call("WebDriver:NewSession")

    def _connect(self, port: int) -> socket.socket:
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=60)
            except OSError:
                assert time.monotonic() < self._deadline, "the browser does not listen"
                time.sleep(0.1)

    def close(self) -> None:
        """End the browser that this object started."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def call(self, command: str, **parameters: Any) -> Any:
        """Return the answer to one command."""
        self._n_sent += 1
        message = json.dumps([0, self._n_sent, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, number, error, result = self._read()
        assert number == self._n_sent
        assert error is None, error
        return result

    def _read(self) -> Any:
        while b":" not in self._buffer:
            self._receive()
        length, _, self._buffer = self._buffer.partition(b":")
        while len(self._buffer) < int(length):
            self._receive()
        message, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(message)

    def _receive(self) -> None:
        part = self._socket.recv(1 << 20)
        assert part, "the browser does not answer"
        self._buffer += part

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("WebDriver:ExecuteScript", script=f"return Promise.resolve({script})", args=[], sandbox=None)
        return answer["value"]

    def open(self, page: Path, *, idle: str = "true") -> float:
        """Return the seconds from the start of loading a page until it is ready, and ``idle`` is true."""
        self.call("WebDriver:Navigate", url=page.resolve().as_uri())
        while not self.run(f'document.body.dataset.ready === "yes" && {idle}'):
            assert time.monotonic() < self._deadline, "the page is not ready"
            time.sleep(0.02)
        return self.run("performance.now()") / 1000

    def resize(self, width: int, height: int) -> None:
        """Give the window a size in pixels."""
        self.call("WebDriver:SetWindowRect", width=width, height=height)

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the pointer at the first place, move it over the others, and release it at the last; one is a click."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20} for x, y in places]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self.call("WebDriver:PerformActions", actions=[{"type": "pointer", "id": "mouse", "actions": steps}])

    def key(self, name: str) -> None:
        """Press and release a key by its name, such as ``ArrowRight``."""
        value = {"ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}[name]
        steps = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
        self.call("WebDriver:PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    def screenshot(self, path: Path) -> None:
        """Write what the tab shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("WebDriver:TakeScreenshot", full=True)["value"]))


@pytest.fixture
def firefox() -> Iterator[Firefox]:
    """Yield a headless Firefox; without one on the PATH the test is skipped."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox")
    browser = Firefox(program)
    yield browser
    browser.close()
