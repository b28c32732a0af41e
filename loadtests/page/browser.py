"""report.html → one picture of it in a real browser, on a phone and wide, or what does not fit."""

import subprocess
from html import escape
from pathlib import Path
from re import search
from shutil import which
from tempfile import TemporaryDirectory

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE_PX, WIDE_PX, HEIGHT_PX, GAP_PX = 390, 1_200, 2_100, 24
PATIENCE_S = 120.0
BUDGET_MS = 2_000
"""Of the page's own clock, which stands still while it waits for others."""
FRAMES = """<!doctype html><meta charset="utf-8"><title>waiting</title>
<style>
body {{ margin: 0; display: flex; gap: {gap}px; background: #8d99a6; }}
iframe {{ border: 0; height: {height}px; }}
</style>
<iframe style="width: {phone}px" srcdoc="{page}"></iframe>
<iframe style="width: {wide}px" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const over = [...document.querySelectorAll("iframe")].map((frame) =>
    frame.contentDocument.documentElement.scrollWidth - frame.clientWidth);
  document.title = "over " + Math.max(0, ...over);
}};
</script>
"""
"""Both widths beside each other; the title tells by how many pixels the wider content is over."""


class BrowserError(Exception):
    """There is no browser, it shows nothing, or the page does not fit; the message says which."""


def opened(url: str, folder: Path, *options: str, width_px: int, height_px: int) -> str:
    """Have a browser whose profile is in the folder open a page, and return what it says.

    It waits for what the page fetches. Raises BrowserError.
    """
    browser = next(filter(None, map(which, NAMES)), None)
    if browser is None:
        raise BrowserError(f"no browser: none of {', '.join(NAMES)} is installed")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={width_px},{height_px}", f"--user-data-dir={folder / 'profile'}"]
    command += [f"--virtual-time-budget={BUDGET_MS}", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode:
        raise BrowserError(f"{browser} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def photographed(page: Path, picture: Path) -> None:
    """Write the picture, PNG. Raises BrowserError where one has to scroll sideways."""
    content = escape(page.read_text(encoding="utf-8"), quote=True)
    frames = FRAMES.format(page=content, phone=PHONE_PX, wide=WIDE_PX, height=HEIGHT_PX, gap=GAP_PX)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "frames.html").write_text(frames, encoding="utf-8")
        address = (folder / "frames.html").as_uri()

        def asked(option: str) -> str:
            width_px = PHONE_PX + GAP_PX + WIDE_PX
            return opened(address, folder, option, width_px=width_px, height_px=HEIGHT_PX)

        shown = search(r"<title>over (\d+)</title>", asked("--dump-dom"))
        if shown is None:
            raise BrowserError("the browser has not shown the page")
        if over_px := int(shown[1]):
            raise BrowserError(f"the page is {over_px} px wider than the screen")
        picture.parent.mkdir(parents=True, exist_ok=True)
        asked(f"--screenshot={picture.absolute()}")
    if not picture.exists():
        raise BrowserError("the browser has taken no picture")
