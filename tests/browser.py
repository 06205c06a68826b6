"""Headless Chromium, spoken to through a pipe: no driver, no port."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)
SECONDS = 60.0  # for a busy machine; nothing here waits that long


def find_browser():
    """Its path, or None."""
    found = map(shutil.which, PROGRAMS)
    return next((path for path in found if path), None)


class Browser:
    """Chrome DevTools Protocol: JSON, each message ends with a zero byte."""

    def __init__(self, program, folder):
        # The browser reads from 3 and writes to 4.
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]

        def wire():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={folder}"],
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=wire,
        )
        for end in (read, write, *ends):
            os.close(end)
        self._rest, self._number, self.events = b"", 0, []

    def close(self):
        """End the process."""
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def open(self, path, **features):
        """A page from disk, once it is loaded."""
        blank = self.call("Target.createTarget", url="about:blank")
        attached = self.call(
            "Target.attachToTarget", targetId=blank["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"])
        self.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        pairs = [{"name": k, "value": v} for k, v in features.items()]
        page.call("Emulation.setEmulatedMedia", features=pairs)
        page.call("Page.navigate", url=path.resolve().as_uri())
        while not page.of("Page.loadEventFired"):
            self._next()
        return page

    def call(self, method, session=None, **parameters):
        """The answer of the browser."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        """One message; what is no answer is kept as an event."""
        until = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            left = max(0, until - time.monotonic())
            ready, _, _ = select.select([self._read], [], [], left)
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message


class Page:
    """One page of a browser."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    def call(self, method, **parameters):
        """The answer of this page."""
        return self.browser.call(method, self.session, **parameters)

    def run(self, script):
        """What an expression, or the promise that it is, gives."""
        found = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        """A key goes down and up."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def of(self, method):
        """Events of a kind."""
        return [
            event["params"]
            for event in self.browser.events
            if event["method"] == method
            and event.get("sessionId") == self.session
        ]

    @property
    def problems(self):
        """Errors and warnings, of scripts and of the browser."""
        calls = [
            call
            for call in self.of("Runtime.consoleAPICalled")
            if call["type"] in ("error", "warning", "assert")
        ]
        thrown = self.of("Runtime.exceptionThrown")
        return calls + thrown + self.of("Log.entryAdded")

    @property
    def requests(self):
        """What was asked for, but what the page holds itself."""
        urls = [
            event["request"]["url"]
            for event in self.of("Network.requestWillBeSent")
        ]
        return [url for url in urls if not url.startswith("data:")]
