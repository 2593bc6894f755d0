"""What Chromium makes of a page: its title when scripts have run, and what its console said."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --enable-logging=stderr"
    " --virtual-time-budget=4000 --dump-dom"
).split()


def opened(page: str, folder: Path, dark: bool = False, *flags: str) -> tuple[str, str]:
    """The title of a page that ran in Chromium, and what its console said."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    scheme = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = ["chromium", *_FLAGS, *flags, *scheme, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    title = re.search(r"<title>(.*?)</title>", done.stdout, flags=re.DOTALL)
    assert title is not None
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return unescape(title[1]), console


def requested(page: str, folder: Path) -> list[str]:
    """What a page asked of the network as it was opened: by the browser's own log, without what it asks for itself."""
    log = folder / "net.json"
    opened(page, folder, False, f"--log-net-log={log}")
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return sorted({params["url"] for params in asked if params["initiator"] != "not an origin"})


def framed(page: str, script: str, width: int) -> str:
    """A page in a frame of a width, narrower than a window may be; the script finds it as `page`."""
    return f"""<!doctype html><title>-</title>
<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(page, quote=True)}"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{ const page = frame.contentDocument; {script} }});
</script>"""
