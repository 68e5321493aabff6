"""A browser for the tests of pages: headless Chromium, driven over a pipe by its own protocol."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-background-networking", "--disable-extensions", "--window-size=1100,900"),
]


class Chromium:
    """One tab. Source of the protocol: https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, program: str, *, timeout_s: float = 60.0) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        # It reads commands from descriptor 3 and answers on 4; those of ours must not be these two.
        ours = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for pair in (os.pipe(), os.pipe()) for end in pair]
        its_in, self._to, self._from, its_out = ours

        def connect() -> None:
            os.dup2(its_in, 3)
            os.dup2(its_out, 4)

        self._process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        self._buffer = b""
        self._n_sent = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        tabs = self.call("Target.getTargets")["targetInfos"]
        tab = next(each["targetId"] for each in tabs if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser that this object started."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command; what happens meanwhile goes to ``events``."""
        self._n_sent += 1
        message = {"id": self._n_sent, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._n_sent:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, self._deadline - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, "the browser does not answer"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, *, idle: str = "Bokeh.documents[0].is_idle") -> float:
        """Return the seconds from the start of loading a page until it is ready and ``idle`` is true."""
        assert "errorText" not in self.call("Page.navigate", url=page.resolve().as_uri())
        wait = f"""new Promise((done) => {{ const look = () =>
            document.body && document.body.dataset.ready === "yes" && {idle}
            ? requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))) : setTimeout(look, 10);
            look(); }})"""
        while self.run("document.location.protocol") != "file:":
            time.sleep(0.02)
        return self.run(wait) / 1000

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in pixels; one that is narrow is a phone's."""
        phone = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the pointer there (kind ``mouseMoved``), or press and release it (``click``)."""
        kinds = ("mouseMoved", "mousePressed", "mouseReleased") if kind == "click" else (kind,)
        for each in kinds:
            more = {} if each == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=each, x=x, y=y, **more)

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the pointer at the first place, move it over the others, and release it at the last; one is a click."""
        self.mouse("mouseMoved", *places[0])
        self._press("mousePressed", places[0], clickCount=1)
        for place in places[1:]:
            self._press("mouseMoved", place)
        self._press("mouseReleased", places[-1], clickCount=1)

    def _press(self, kind: str, place: tuple[float, float], **more: Any) -> None:
        x, y = place
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, **more)

    def key(self, name: str) -> None:
        """Press and release a key by its name, such as ``ArrowRight``."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def screenshot(self, path: Path) -> None:
        """Write what the tab shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    @property
    def requests(self) -> list[str]:
        """Return the addresses that pages asked for."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    @property
    def complaints(self) -> list[str]:
        """Return what went wrong in scripts, and what they logged as errors."""
        thrown = [e["params"]["exceptionDetails"] for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        logged = [
            event["params"]["args"]
            for event in self.events
            if event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "assert")
        ]
        return [json.dumps(each) for each in [*thrown, *logged]]


@pytest.fixture
def browser() -> Iterator[Chromium]:
    """Yield a headless Chromium; without one on the PATH the test is skipped."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium")
    chromium = Chromium(program)
    yield chromium
    chromium.close()
