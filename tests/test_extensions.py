"""The extensions of Sphinx and Python-Markdown: a small site is built, and opened in a headless browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from costmodel.source import SpecError

from .conftest import ROOT
from .typesetting import TOOLS, katex_folder

# sets what stands between `\(` and `\)`, `\[` and `\]`, as MathJax does on a site
SETTER = """
const set = () => renderMathInElement(document.body, {strict: "error"});
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", set); else set();
"""
SPEC = 'model m "A model"\ndim width = 4 as "d"\ngraph forward(x[batch_size, new_tokens, width]) {\n'
SPEC += "    weight W[width -> width]\n    return matmul(x, W)\n}\n"


def setter(folder: Path) -> None:
    """Put KaTeX and what calls it into a folder, as one script."""
    dist = (katex_folder() or TOOLS) / "katex" / "dist"
    scripts = [
        path.read_text(encoding="utf-8") for path in (dist / "katex.min.js", dist / "contrib/auto-render.min.js")
    ]
    (folder / "setter.js").write_text(";\n".join([*scripts, SETTER]), encoding="utf-8")


def opened(page: Path) -> str:
    """A page as the browser has it once its scripts have run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    command += [f"--user-data-dir={page.parent / '.profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


# --- Sphinx

PAGE = """
A page
======

.. costmodel:: llama-3.1:8b
   :quantity: flops, bytes
   :phase: prefill

.. costmodel:: m.arch
   :quantity: latency
   :device: h100-sxm
   :set: width=8 dtype.cache=fp8

It has :costmodel:`llama-3.1:8b params` parameters, and :costmodel:`gpt-2 flops --batch-size 1` FLOPs.
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A Sphinx project of one page."""
    (tmp_path / "static").mkdir()
    conf = 'extensions = ["costmodel.sphinx_extension", "sphinx.ext.mathjax"]\nhtml_theme = "basic"\n'
    conf += 'html_static_path = ["static"]\nmathjax_path = "setter.js"\nproject = "x"\n'
    (tmp_path / "conf.py").write_text(conf, encoding="utf-8")
    (tmp_path / "m.arch").write_text(SPEC, encoding="utf-8")
    (tmp_path / "index.rst").write_text(PAGE, encoding="utf-8")
    return tmp_path


def sphinx(folder: Path, builder: str = "html") -> str:
    """What Sphinx warns of."""
    return run("sphinx", "-q", "-b", builder, ".", "out", folder=folder).stderr


@pytest.mark.needs("sphinx")
def test_sphinx_sets_formulas(docs: Path) -> None:
    assert sphinx(docs) == ""
    text = (docs / "out" / "index.html").read_text(encoding="utf-8")
    assert r"C_{\text{attn}} &amp;= s \cdot (4 \, d \, e \cdot (h + g) + 4 \, s \, h \, e)" in text
    assert r"8{,}030{,}261{,}248" in text
    assert r"T &amp;= " in text
    assert len(re.findall(r'class="math notranslate nohighlight"', text)) == 5


@pytest.mark.needs("sphinx")
def test_a_page_is_built_again_when_its_spec_changes(docs: Path) -> None:
    before = ".. costmodel:: m.arch\n   :quantity: params\n"
    (docs / "index.rst").write_text(f"A page\n======\n\n{before}", encoding="utf-8")
    sphinx(docs)
    assert "= 16" in (docs / "out" / "index.html").read_text(encoding="utf-8")
    (docs / "m.arch").write_text(SPEC.replace("width = 4", "width = 5"), encoding="utf-8")
    sphinx(docs)
    assert "= 25" in (docs / "out" / "index.html").read_text(encoding="utf-8")


@pytest.mark.needs("sphinx")
@pytest.mark.parametrize(
    ("page", "message"),
    [
        (".. costmodel:: llama-3.1:8b\n   :quantity: flop\n", "there is no quantity `flop`"),
        (".. costmodel:: gpt-3\n", "`gpt-3`"),
        (".. costmodel:: gpt-2\n   :quantity: latency\n", "`latency` needs a device"),
        (".. costmodel:: gpt-2\n   :seq-len: 0\n", "--seq-len is 0"),
        (":costmodel:`gpt-2`\n", "a spec and a quantity are needed"),
        (":costmodel:`gpt-2 param`\n", "there is no quantity `param`"),
        (":costmodel:`gpt-2 params --off`\n", "--off"),
        (":costmodel:`gpt-2 params 'x`\n", "No closing quotation"),
    ],
)
def test_sphinx_says_what_is_wrong_and_where(page: str, message: str, docs: Path) -> None:
    (docs / "index.rst").write_text(f"A page\n======\n\n{page}", encoding="utf-8")
    told = sphinx(docs)
    assert message in told and "index.rst:4: ERROR" in told
    assert "Traceback" not in told


@pytest.mark.needs("sphinx")
@pytest.mark.needs("katex")
@pytest.mark.needs("chromium")
def test_a_browser_shows_the_formulas_of_sphinx(docs: Path) -> None:
    setter(docs / "static")
    assert sphinx(docs) == ""
    dom = opened(docs / "out" / "index.html")
    assert dom.count('class="katex-html"') == 5
    assert "katex-error" not in dom


@pytest.mark.needs("sphinx")
@pytest.mark.needs("pdflatex")
def test_sphinx_writes_latex_that_holds_the_formulas(docs: Path) -> None:
    assert sphinx(docs, "latex") == ""
    text = next((docs / "out").glob("*.tex")).read_text(encoding="utf-8")
    assert text.count(r"\begin{aligned}") == 3


# --- Python-Markdown

MARKDOWN = """# Title

```costmodel
formula llama-3.1:8b --of flops
latex gpt-2 --device a10 --seq-len 128
```

````
```costmodel
formula gpt-2
```
````

~~~ costmodel
evaluate gpt-2 --batch-size 1 --seq-len 1
evaluate gpt-2 --batch-size 1 --seq-len 1 --format text
~~~
"""


@pytest.mark.needs("markdown")
def test_python_markdown_shows_answers() -> None:
    from markdown import markdown

    from costmodel.markdown_extension import CostmodelExtension

    html = markdown(MARKDOWN, extensions=[CostmodelExtension(), "fenced_code", "tables"])
    assert r'<div class="arithmatex">\[' in html
    assert r"C_{\text{attn}} &amp;= 4 d e \cdot (h + g) + 4 s h e" in html
    assert r'<span class="arithmatex">\(C_{\text{attn}}\)</span>' in html
    assert "<h2>The cost of GPT-2</h2>" in html
    assert "<pre><code>```costmodel\nformula gpt-2\n```" in html
    assert '<pre><code class="language-text">' in html and "weight_memory" in html
    assert re.search(r"<td[^>]*>params</td>", html)
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", html, flags=re.S)


@pytest.mark.needs("markdown")
@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("formula gpt-3", "`gpt-3`"),
        ("new x --from gpt-2", "`new` is no command for a document"),
        ("formula gpt-2 -o x", "only answers"),
        ("formula 'gpt-2", "a quote is not closed"),
    ],
)
def test_a_command_without_an_answer_ends_the_build(block: str, message: str) -> None:
    from markdown import markdown

    with pytest.raises(Exception, match=re.escape(message)):
        markdown(f"```costmodel\n{block}\n```\n", extensions=["costmodel.markdown_extension"])
    with pytest.raises(Exception, match="not closed"):
        markdown(f"```costmodel\n{block}\n", extensions=["costmodel.markdown_extension"])


@pytest.mark.needs("markdown")
def test_formulas_without_a_script() -> None:
    """Those of blocks and those of the page; what only looks like one stays."""
    from markdown import markdown

    page = "Of $b$, `$b$` and $5 it costs $2.50 to $3.\n\n$$\nb \\cdot s\n$$\n\n"
    more = "~~~\n$$\n~~~\n\n| a |\n| - |\n| $C_m$ |\n"
    html = markdown(MARKDOWN + page + more, extensions=["costmodel", "fenced_code"], extension_configs=MATHML)
    assert "arithmatex" not in html and '<div class="math"><math display="block"><mtable>' in html
    assert "<p>Of <math><mi>b</mi></math>, <code>$b$</code> and $5 it costs $2.50 to $3.</p>" in html
    assert '<div class="math"><math display="block"><mi>b</mi><mo>⋅</mo><mi>s</mi></math></div>' in html
    assert "<pre><code>$$\n</code></pre>" in html
    assert "<td><math><msub><mi>C</mi><mi>m</mi></msub></math></td>" in html


@pytest.mark.needs("markdown")
@pytest.mark.parametrize("spec", ["llama-3.1:8b", "mixtral:8x7b", "gemma-2:9b", "mamba-2:2.7b", "whisper:base"])
def test_a_derivation_has_its_mathml(spec: str) -> None:
    from markdown import markdown

    block = f"```costmodel\nlatex {spec} --device h100-nvl\n```\n"
    html = markdown(block, extensions=["costmodel"], extension_configs=MATHML)
    assert html.count("<math") > 60
    assert "\\" not in html and "$" not in html


MATHML = {"costmodel": {"formulas": "mathml"}}


@pytest.mark.needs("markdown")
@pytest.mark.parametrize(
    ("page", "form", "message"),
    [
        ("$\\input{x}$", "mathml", "none that costmodel writes: \\input{x}"),
        ("$$\nb\n", "mathml", "a display is not closed"),
        ("", "mathjax", "`formulas` is tex or mathml, not `mathjax`"),
    ],
)
def test_a_formula_that_cannot_be_set_ends_the_build(page: str, form: str, message: str) -> None:
    from markdown import markdown

    with pytest.raises(SpecError) as caught:
        markdown(page, extensions=["costmodel"], extension_configs={"costmodel": {"formulas": form}})
    assert message in caught.value.diagnostics[0].message


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The page of an MkDocs site, built."""
    (tmp_path / "docs").mkdir()
    if katex_folder() is not None:
        setter(tmp_path / "docs")
    (tmp_path / "docs" / "index.md").write_text(MARKDOWN, encoding="utf-8")
    conf = (
        "site_name: x\nuse_directory_urls: false\nextra_javascript: [setter.js]\ntheme: {name: null, custom_dir: t}\n"
    )
    (tmp_path / "mkdocs.yml").write_text(f"{conf}markdown_extensions: [costmodel]\n", encoding="utf-8")
    (tmp_path / "t").mkdir()
    main = "<!doctype html><html><body>{{ page.content }}<script src='setter.js'></script></body></html>"
    (tmp_path / "t" / "main.html").write_text(main, encoding="utf-8")
    done = run("mkdocs", "build", "--strict", "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "site" / "index.html"


@pytest.mark.needs("mkdocs")
def test_mkdocs_builds_a_site(site: Path) -> None:
    text = site.read_text(encoding="utf-8")
    assert r'<div class="arithmatex">\[' in text and "<table>" in text


@pytest.mark.needs("mkdocs")
@pytest.mark.needs("katex")
@pytest.mark.needs("chromium")
def test_a_browser_shows_the_formulas_of_mkdocs(site: Path) -> None:
    count = site.read_text(encoding="utf-8").count('class="arithmatex"')
    dom = opened(site)
    assert dom.count('class="katex-html"') == count > 50
    assert "katex-error" not in dom
