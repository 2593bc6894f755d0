"""A picture in a page: SVG inline, light and dark, and a pointer that evaluates the closed forms where it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from colorsys import hls_to_rgb, rgb_to_hls
from html import escape
from importlib.resources import files

from costmodel.plot.draw import WIDTH, svg
from costmodel.plot.picture import Axis, Picture, Reading
from costmodel.render.javascript import helpers, javascript, name

_COLOR = re.compile(r"#[0-9a-f]{6}\b")


def html(picture: Picture) -> str:
    """A page of its own, which asks for nothing over the network.

    Raises:
        SpecError: matplotlib is not installed.
    """
    figure, colors = inline(picture, "p")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(picture.title)}</title>
<style>
{style(colors)}
body {{ margin: 0; background: var(--cffffff); }}
figure.picture {{ max-width: 1000px; margin: 1rem auto; padding: 0 8px; }}
</style>
</head>
<body>
{figure}
<script>
{script([("p", picture)])}
</script>
</body>
</html>
"""


def inline(picture: Picture, prefix: str, width: int = WIDTH) -> tuple[str, set[str]]:
    """The picture as a figure for a page, its ids prefixed, its colours variables; and these colours."""
    drawing = svg(picture, width)
    body = drawing.svg[drawing.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    colors = set(_COLOR.findall(body))
    body = re.sub(r'style="[^"]*"', lambda found: _COLOR.sub(lambda c: f"var(--c{c[0][1:]})", found[0]), body)
    head, _, rest = body.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = escape(f"{picture.title}. {picture.subtitle}", quote=True)
    head += f' role="img" aria-label="{label}" tabindex="0"'
    frame = ",".join(f"{value:.2f}" for value in drawing.frame)
    return (
        f'<figure class="picture" id="{prefix}" data-frame="{frame}">\n{head}>{rest}'
        '<div class="reading" hidden></div>\n</figure>',
        colors,
    )


def style(colors: Iterable[str]) -> str:
    """The rules of figures, with each colour's light and dark form."""
    used = sorted({*colors, *_PAGE})
    light = " ".join(f"--c{color[1:]}: {color};" for color in used)
    dark = " ".join(f"--c{color[1:]}: {_dark(color)};" for color in used)
    return f"""\
:root {{ color-scheme: light dark; {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
@media print {{ :root {{ {light} }} }}
{asset("picture.css")}"""


# what pages are written in
_PAGE = (
    *("#ffffff", "#1a1a1a", "#6b6b6b", "#5a5a5a", "#d9d9d9", "#ededed"),
    *("#d55e00", "#009e73", "#00629b", "#00724f", "#a84a00"),
)


def _dark(color: str) -> str:
    """The same hue with its lightness turned round: white becomes nearly black."""
    hue, lightness, saturation = rgb_to_hls(*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    red, green, blue = hls_to_rgb(hue, 0.08 + 0.85 * (1 - lightness), saturation * 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def script(pictures: Iterable[tuple[str, Picture]]) -> str:
    """What makes figures answer the pointer: the closed forms as functions, and one function for all figures."""
    calls = [f"hover({json.dumps(prefix)}, {_data(picture)});" for prefix, picture in pictures if picture.readings]
    return "\n".join([*helpers(calls), asset("hover.js").rstrip(), *calls]) if calls else ""


def _data(picture: Picture) -> str:
    readings = ",\n  ".join(_reading(reading, picture.unknowns) for reading in picture.readings)
    unknowns = json.dumps([_SPOKEN.get(unknown, unknown) for unknown in picture.unknowns])
    return (
        f"{{ unknowns: {unknowns}, x: {_axis(picture.x, picture.unknowns[0])},"
        f" y: {_axis(picture.y, picture.unknowns[-1])},\n readings: [\n  {readings}\n ] }}"
    )


_SPOKEN = {"batch_size": "batch", "seq_len": "context", "intensity": "FLOP a byte"}


def _axis(axis: Axis, unknown: str) -> str:
    whole = unknown in ("batch_size", "seq_len")
    return json.dumps({"low": axis.low, "high": axis.high, "log": axis.scale == "log", "whole": whole})


def _reading(reading: Reading, unknowns: tuple[str, ...]) -> str:
    arguments = ", ".join(map(name, unknowns))
    values = ", ".join(
        f"[{json.dumps(what)}, ({arguments}) => {javascript(expr)}, {json.dumps(unit)}]"
        for what, expr, unit in reading.values
    )
    facts = {
        "name": reading.name,
        "color": f"var(--c{reading.hue.line[1:]}, {reading.hue.line})",
        "fits": reading.fits,
        "capacity": reading.capacity,
        "plotted": reading.plotted,
        "factor": reading.factor,
    }
    written = ", ".join(f"{key}: {_literal(value)}" for key, value in facts.items())
    return f"{{ {written}, values: [{values}] }}"


def _literal(value: object) -> str:
    """A value that cannot end the script that it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def asset(file: str) -> str:
    """A file that lies beside this module."""
    return files("costmodel.plot").joinpath(file).read_text(encoding="utf-8")
