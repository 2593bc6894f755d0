"""Pictures of the two times of a pass as straight lines over the batch size: where they meet, be it left of zero.

Drawn from the closed forms; `costmodel plot` begins at batch 1, and these do not.
"""

from __future__ import annotations

from html import escape

import costmodel as cm
from costmodel.figures import as_figure

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 60, 500, 60, 290
MEMORY, COMPUTE, INK, FAINT = "#00629b", "#a84a00", "#1a1a1a", "#5a5a5a"


def lines(spec: str, device: str, context: int, low: int, high: int) -> str:
    """An SVG of compute and memory time, low ≤ batch ≤ high, dotted where a batch is none."""
    model = cm.load(spec)
    answer = model.crossover(device, seq_len=context)
    cost = model.cost(device=device)
    times = {}
    for kind in ("compute_time", "memory_time"):
        expr = getattr(cost, kind).subs(cm.seq_len, context)
        start, end = (float(as_figure(expr.subs(cm.batch_size, at))) * 1e3 for at in (0, 1))
        times[kind] = (start, end - start)
    assert answer.batch_size.value is not None
    meeting = float(answer.batch_size.value)

    def height_at(kind: str, batch: float) -> float:
        start, slope = times[kind]
        return start + slope * batch

    ends = [height_at(kind, batch) for kind in times for batch in (low, high, meeting)]
    least, most = min(0.0, *ends), max(ends)

    def at(batch: float, time: float) -> tuple[float, float]:
        x = LEFT + (batch - low) / (high - low) * (RIGHT - LEFT)
        return x, BOTTOM - (time - least) / (most - least) * (BOTTOM - TOP)

    def line(kind: str, start: float, end: float, color: str, dashes: str = "") -> str:
        (x1, y1), (x2, y2) = at(start, height_at(kind, start)), at(end, height_at(kind, end))
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" style="stroke: {color}"{dashed} stroke-width="2.5"/>'

    def text(x: float, y: float, said: str, color: str = INK, anchor: str = "start", size: int = 13) -> str:
        style = f"fill: {color}; font: {size}px sans-serif"
        return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}" text-anchor="{anchor}">{escape(said)}</text>'

    signed = f"{meeting:,.1f}".replace("-", "−")
    title = f"At {context:,} tokens the two times are equal at batch {signed}"
    zero, ground = at(0, 0)
    x, y = at(meeting, height_at("memory_time", meeting))
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" style="fill: #ffffff"/>',
        text(LEFT - 40, 28, title, size=17),
        f'<path d="M{LEFT} {ground:.1f}H{RIGHT}" style="stroke: {FAINT}"/>',
        f'<path d="M{zero:.1f} {TOP - 10}V{BOTTOM}" style="stroke: {FAINT}"/>',
        text(RIGHT, ground + 18, f"batch {high:,}", FAINT, "end"),
        text(zero + 4, ground + 18, "0", FAINT),
        text(zero + 6, TOP - 2, "time of a token", FAINT),
    ]
    for kind, color, name in (("memory_time", MEMORY, "reading"), ("compute_time", COMPUTE, "computing")):
        start, slope = times[kind]
        parts += [line(kind, low, 0, color, "2 5"), line(kind, 0, high, color)]
        end_x, end_y = at(high, height_at(kind, high))
        said = f"{start:,.2f} ms + {slope:,.3f} ms · b" if start else f"{slope:,.3f} ms · b"
        parts += [text(end_x + 8, end_y, name, color), text(end_x + 8, end_y + 16, said, color, size=11)]
    parts += [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill: #ffffff; stroke: {INK}" stroke-width="2"/>',
        text(x + 8, y + (20 if meeting < 0 else -10), f"b* = {signed}", anchor="start" if meeting < 0 else "end"),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" fill="none">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )
