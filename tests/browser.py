"""A headless Chromium, controlled through a pipe with the protocol of its developer tools."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
_PATIENCE_S = 120  # for an answer; generous, because the machine may be busy


class Browser:
    """A page in a browser without a network. It records errors, warnings and requests."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        ours, theirs = [], []
        for end in (0, 1):  # Chromium reads commands from descriptor 3 and writes answers to descriptor 4
            low = os.pipe()
            pipe = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low]  # so that none of them is 3 or 4
            for fd in low:
                os.close(fd)
            theirs.append(pipe[end])
            ours.append(pipe[1 - end])
        self._to, self._from = ours
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += [f"--user-data-dir={profile}", "--proxy-server=127.0.0.1:9", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [CHROMIUM, *flags, "about:blank"],
            preexec_fn=lambda: [os.dup2(fd, place) for fd, place in zip(theirs, (3, 4), strict=True)],
            close_fds=False,  # 3 and 4 must stay open; Python marks its other descriptors to be closed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in theirs:
            os.close(fd)
        self._buffer, self._n_sent, self._session = b"", 0, ""
        self.problems: list[str] = []  # errors and warnings, of scripts and of what the page loads
        self.requests: list[str] = []  # every address that the page requested
        self.new_tab()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self.send("Browser.close")
        self._process.wait(timeout=_PATIENCE_S)
        os.close(self._to)
        os.close(self._from)

    def new_tab(self) -> str:
        """Open another tab and go there. Returns the name of the one before."""
        before, self._session = self._session, ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        return before

    def go_to_tab(self, name: str) -> str:
        """Go to a tab. Returns the name of the one before."""
        before, self._session = self._session, name
        self.send("Page.bringToFront")  # what lies behind is not drawn, and cannot be touched
        return before

    def send(self, method: str, **params: Any) -> Any:
        """The answer to a command of the protocol."""
        self._n_sent += 1
        message = {"id": self._n_sent, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._n_sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def open(self, page: Path | str, width: int, height: int, mobile: bool = False) -> None:
        """Show a file, or what a server on this machine has, in a window of that size, or on a phone of that size."""
        address = page if isinstance(page, str) else page.as_uri()
        self.problems.clear()
        self.requests.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setTouchEmulationEnabled", enabled=mobile)
        self.send("Page.navigate", url=address)
        self.wait(f"document.readyState == 'complete' && location.href == {json.dumps(address)}")

    def value(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.value(script):
            assert time.monotonic() < deadline, f"never became true: {script}; {self.problems}"
            time.sleep(0.05)

    def point_at(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, x: float, y: float) -> None:
        """Touch the screen there."""
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def type(self, text: str) -> None:
        """Write a text where the focus is."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, *, alt: bool = False, shift: bool = False) -> None:
        """Press a key, named as `KeyboardEvent.code` names it."""
        codes = {"Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowRight": 39, "ArrowLeft": 37}
        name = key.removeprefix("Key").lower() if key.startswith("Key") else key
        event: dict[str, Any] = {"key": name, "code": key, "modifiers": alt + 8 * shift}
        event["windowsVirtualKeyCode"] = codes[key] if key in codes else ord(name.upper())
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def prefer(self, scheme: str) -> None:
        """Say that the user likes a `light` or a `dark` page."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page as PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], _PATIENCE_S)
            assert ready, "chromium does not answer"
            chunk = os.read(self._from, 1 << 20)
            assert chunk, f"chromium ended with status {self._process.wait()}"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        event: dict[str, Any] = json.loads(message)
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(event["params"]["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if event["params"]["type"] in ("error", "warning"):
                self.problems.append(json.dumps(event["params"]["args"]))
            case "Log.entryAdded" if event["params"]["entry"]["level"] in ("error", "warning"):
                self.problems.append(event["params"]["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
        return event
