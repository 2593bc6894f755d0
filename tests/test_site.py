"""The pages of docs/ as a site: `make docs`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .browser import opened
from .conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
# what a browser would load; an `a` is only a link
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|object)\b[^>]*\bsrc=["']?([^"'\s>]+)|<link\b[^>]*\bhref="([^"]+)"""
)


def test_every_page_has_its_place() -> None:
    """The contents of the site name each page once, and no other."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert sorted(re.findall(r": (\S+\.md)$", text, flags=re.MULTILINE)) == PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.needs("mkdocs")
def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    built = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")}
    assert built - {"404.md"} == set(PAGES)
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = [src or href for src, href in LOADED.findall(text)]
        assert loaded
        assert [url for url in loaded if re.match(r"(\w+:)?//", url)] == [], path.name
        assert "@import" not in text
    for path in site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", path.read_text(encoding="utf-8")) == []
    assert not [path for path in site.rglob("*") if path.suffix == ".py" or path.name == "__pycache__"]


@pytest.mark.needs("mkdocs")
@pytest.mark.parametrize("name", PAGES)
def test_blocks_and_formulas_are_set(name: str, site: Path) -> None:
    """Each fenced block is one of code, each formula is MathML, and no sign of Markdown is left over."""
    source = (DOCS / name).read_text(encoding="utf-8")
    text = (site / name).with_suffix(".html").read_text(encoding="utf-8").partition('role="main"')[2]
    fences = re.findall(r"^```(\w*)", source, flags=re.MULTILINE)[::2]
    assert re.findall(r'<code class="language-(\w+)">', text) == [language or "text" for language in fences]
    prose = re.sub(r"<pre.*?</pre>|<code.*?</code>|<!--.*?-->", "", text, flags=re.DOTALL)
    assert "```" not in prose and "$" not in prose and "](" not in prose
    outside = re.sub(r"^```.*?^```|`[^`\n]*`|<!--.*?-->", "", source, flags=re.MULTILINE | re.DOTALL)
    formulas = len(re.findall(r"\$\$.*?\$\$|\$[^$\n]+\$", outside, flags=re.DOTALL))
    assert prose.count("<math") == formulas


# scripts do not run in these frames: what is measured is the page itself
FRAMES = """<!doctype html><title>-</title><body><script>
const names = NAMES, wide = [];
let left = names.length;
for (const name of names) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-same-origin";
  frame.style = "width:380px;height:700px;border:0";
  frame.addEventListener("load", () => {
    if (frame.contentDocument.scrollingElement.scrollWidth > 380) wide.push(name);
    left -= 1;
    if (left === 0) document.title = JSON.stringify(wide);
  });
  frame.src = name;
  document.body.append(frame);
}
</script>"""


@pytest.mark.needs("mkdocs")
@pytest.mark.needs("chromium")
def test_pages_fit_a_narrow_window(site: Path) -> None:
    """380 px wide no page scrolls sideways; what is wide in it scrolls by itself."""
    names = [str(Path(name).with_suffix(".html")) for name in PAGES]
    page = FRAMES.replace("NAMES", json.dumps(names))
    assert opened(page, site, False, "--allow-file-access-from-files")[0] == "[]"


@pytest.mark.needs("mkdocs")
@pytest.mark.needs("chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_site_is_as_dark_as_the_reader_has_it(dark: bool, site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    probe = "<script>document.title = getComputedStyle(document.body).backgroundColor</script></body>"
    # the search would start a worker, which a page from disk may not
    page = re.sub(r'<script src="search/[^>]*></script>', "", page).replace("</body>", probe)
    levels = [int(level) for level in re.findall(r"\d+", opened(page, site, dark)[0])]
    assert max(levels) < 80 if dark else min(levels) > 200
