"""Reports in a real browser, at phone and desktop width, in light and dark; skipped where no Chromium is installed.

The browser is spoken to through its DevTools protocol over a pipe: JSON texts that end with a zero byte.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secateur.report import to_html
from secateur.report.content import (
    Chart,
    Configuration,
    Figure,
    Held,
    Mark,
    Module,
    Picture,
    Proof,
    Pruned,
    ReportContent,
    Series,
    Sheet,
    Spread,
    Stay,
    Tally,
    Timing,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PLUMBER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the ends of two pipes where the browser looks for them, and becomes the browser."""
PATIENCE = 60
"""Seconds after which an answer is given up."""
HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>\"'&"
LONG = "encoder.layers." + ".".join(f"block_{n}" for n in range(12)) + ".self_attn.in_proj_weight"
LIGHT, DARK = "rgb(251, 252, 250)", "rgb(16, 21, 18)"


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs, ours = os.pipe(), os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLUMBER, str(theirs[0]), str(ours[1]), program, *flags, "about:blank"],
            pass_fds=(theirs[0], ours[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._write, self._read = os.fdopen(theirs[1], "wb"), ours[0]
        os.set_blocking(self._read, False)
        self._rest, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []

    def attach(self) -> None:
        """Find the page and listen to it."""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            try:
                part = os.read(self._read, 1 << 16)
            except BlockingIOError:
                part = None
            if part == b"" or time.monotonic() > deadline:
                raise TimeoutError("the browser does not answer")
            if part is None:
                time.sleep(0.01)
            else:
                self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def show(self, file: Path, width: int, height: int = 800, *, dark: bool = False, scripts: bool = True) -> None:
        """Open a file in a window of that size, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=file.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """What the page, or the browser about it, said on the console."""
        self.ask("1")
        wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self.events if event.get("method") in wrong]

    def requests(self) -> list[str]:
        """The addresses that were asked for, but the page itself and what lies within it."""
        found = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in found if not url.startswith(("file:", "data:"))]

    def close(self) -> None:
        """End the browser."""
        self._write.close()
        os.close(self._read)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    made = Browser(program, tmp_path_factory.mktemp("profile"))
    try:
        made.attach()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(to_html(everything()), encoding="utf-8")
    return path


def everything() -> ReportContent:
    """A report that has all parts, with names that are as bad as can be."""
    epochs = tuple(float(n) for n in range(12))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="900"><script>parent.hurt = 3</script>'
        '<rect width="3000" height="900" fill="green" onload="parent.hurt = 4"/></svg>'
    )
    return ReportContent(
        title=f"net {HOSTILE}",
        lead=HOSTILE,
        warning=HOSTILE,
        made="2030-01-01",
        figures=(
            Figure("Parameters", 272474, 68786, "count"),
            Figure("Multiply-accumulates", 40.8e6, 10.3e6, "count", note="per example"),
            Figure("Latency", 0.0489, 0.0202, "seconds", note="median"),
            Figure("Accuracy", 0.981, 0.979, "share", "more", note=HOSTILE),
        ),
        pruned=(Pruned(HOSTILE, 64, 32, 8, (LONG, HOSTILE), "renormalises"), Pruned(LONG, 16, 16)),
        stays=(Stay(HOSTILE, (Held(LONG, 0, 10, 10, "linear", f"fc ({HOSTILE}:3)"),)),),
        cautions=(HOSTILE,),
        proofs=(Proof("Masked versus thinned", HOSTILE, 2.4e-7, 1e-6, 1e-4), Proof("Reloaded", "So.", 0.0, 0.0, 1e-4)),
        charts=(
            Chart(
                title=HOSTILE,
                unit="share",
                x=epochs,
                series=(
                    Series(HOSTILE, tuple(0.1 + 0.07 * n for n in range(12))),
                    Series("other", (None, *[0.5] * 11)),
                ),
                marks=(Mark(5.5, HOSTILE),),
            ),
            Chart(
                title="Loss", unit="number", x=epochs, series=(Series("loss", tuple(900 / 2**n for n in range(12))),)
            ),
        ),
        history=Sheet(("epoch", *[f"a long header {n}" for n in range(9)]), (("0", *["0.123456789"] * 9),)),
        picture=Picture(svg=svg),
        modules=tuple(
            Module(f"{LONG}.{n}", HOSTILE, Tally(1000, 10**6, (1, 64, 32, 32)), Tally(500, 10**5, (1, 32, 32, 32)))
            for n in range(3)
        ),
        timing=Timing(
            before=Spread(0.0489, 0.048, 0.05),
            after=Spread(0.02, 0.019, 0.03),
            ratio=2.4,
            inputs="64×3×32×32",
            device=HOSTILE,
            threads=2,
        ),
        configuration=Configuration(HOSTILE, f"run:\n  name: {HOSTILE}  # {'long ' * 60}\n"),
        facts=(("seed", HOSTILE), ("path", "/".join(["folder"] * 40))),
        versions=(("torch", "2.13.0"),),
        command=f"secateur run '{HOSTILE}' {'--option ' * 30}",
        code=f"model = load({HOSTILE!r})",
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_a_report_is_whole_at_any_width(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.show(page, width, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert browser.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), overflowing(
        browser
    )
    assert browser.ask("document.querySelectorAll('figure.chart path').length") == 3
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == (DARK if dark else LIGHT)
    assert browser.complaints() == []
    assert browser.requests() == []
    assert browser.ask("typeof window.hurt") == "undefined"


def overflowing(browser: Browser) -> Any:
    """The elements that reach beyond the window, but those in boxes that scroll."""
    return browser.ask(
        "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.scroll, pre, nav ul')).map(e => e.outerHTML.slice(0, 120)).slice(0, 5)"
    )


def test_what_the_content_says_is_text(browser: Browser, page: Path) -> None:
    browser.show(page, 1280)
    assert browser.ask("document.querySelectorAll('script').length") == 1
    assert browser.ask("document.querySelectorAll('img').length") == 1
    assert HOSTILE in browser.ask("document.querySelector('h1').textContent")
    assert HOSTILE in browser.ask("document.querySelector('pre.yaml').textContent")


def test_the_pointer_and_the_arrow_keys_show_values(browser: Browser, page: Path) -> None:
    browser.show(page, 1280)
    box = browser.ask(
        "(() => { const plot = document.querySelectorAll('.plot')[1]; plot.scrollIntoView({block: 'center', behavior: "
        "'instant'}); const b = plot.getBoundingClientRect(); return [b.left, b.top, b.width, b.height] })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 0.28 * box[2], y=box[1] + 0.5 * box[3])
    shown = "[...document.querySelectorAll('.tip')].filter(t => !t.hidden).map(t => t.textContent)"
    assert browser.ask(shown) == ["epoch 3loss  112"]
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.ask(shown) == []
    browser.ask("document.querySelectorAll('.plot')[0].focus()")
    for _ in range(2):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    (tip,) = browser.ask(shown)
    assert tip.startswith("epoch 1")
    assert "17.0\u202f%" in tip


def test_without_script_nothing_is_missing(browser: Browser, page: Path) -> None:
    browser.show(page, 1280, scripts=False)
    picture = browser.call("Page.captureScreenshot", format="png")["data"]
    document = browser.call("DOM.getDocument", depth=-1)
    assert len(picture) > 10_000
    text = json.dumps(document)
    assert "epoch 3, loss: 112" in text  # the title of a dot, which browsers show by themselves
    assert browser.complaints() == []


def test_it_prints(browser: Browser, page: Path) -> None:
    browser.show(page, 1280)
    made = browser.call("Page.printToPDF", printBackground=True)
    assert len(made["data"]) > 10_000
