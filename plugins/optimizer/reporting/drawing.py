"""From a plot to inline SVG: one look, the page's own colours and fonts, and the same bytes every time."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import TightLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

WIDTH = 360
"""Width of every picture: SVG units, and CSS pixels on a phone."""

INK, MUTED, RULE = "#1b2432", "#667080", "#e2e6ec"
ACCENT, BEFORE, BAND, CARD = "#2f63c8", "#98a2b1", "#e9effa", "#ffffff"
_THEME = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    ACCENT: "--accent",
    BEFORE: "--before",
    BAND: "--band",
    CARD: "--card",
}
"""Colours a plot may use: the page's variable that takes the place of each, so that a dark page has dark pictures."""

ROUND_STEPS = [1, 2, 2.5, 5, 10]
"""What the ticks of an axis may be multiples of."""

_FONT_SIZE = 10.5

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": _FONT_SIZE,
    "figure.facecolor": "none",
    # Where most axes end up: they are measured there, and how many ticks they have depends on their size.
    "figure.subplot.left": 0.14,
    "figure.subplot.right": 0.98,
    "figure.subplot.bottom": 0.19,
    "figure.subplot.top": 0.98,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 1.0,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "text.color": INK,
    "lines.solid_capstyle": "round",
}
_EDGE, _GAP = 2.16 / _FONT_SIZE, 14.4 / _FONT_SIZE
"""What is kept free at the edges, and between two pairs of axes: in font sizes."""

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with its sentence, which says how to read it, or why there is no picture.

    legend: (mark, text) pairs; the marks are classes of the page: now, before, band, bid, seen, ideal.
    """

    title: str
    caption: str
    picture: Markup | None = None
    legend: tuple[tuple[str, str], ...] = ()


def draw(plot: Callable[[Figure], None], *, name: str, label: str, height: int = 220) -> Markup:
    """Return the picture that `plot` puts on an empty figure, as an `<svg>` element for a page.

    Args:
        name: distinct on the page; the elements' ids are made from it.
        label: what the picture shows, for those who do not see it.
        height: in the units of WIDTH.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        plot(figure)
        text = io.StringIO()
        _place(figure)
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    return _inline(text.getvalue(), label=label, height=height)


def _place(figure: Figure) -> None:
    """Give axes and texts their places, measuring each once; saved with a layout engine, the figure is drawn twice."""
    FigureCanvasSVG(figure)  # measures texts as they will be drawn
    # Without a rectangle to fit it into, the figure is measured once.
    TightLayoutEngine(pad=_EDGE, w_pad=_GAP, rect=None).execute(figure)  # type: ignore[arg-type]


def draw_axes(plot: Callable[[Axes], None], *, name: str, label: str, height: int = 220) -> Markup:
    """Return `draw` of a plot with one pair of axes."""
    return draw(lambda figure: plot(figure.subplots()), name=name, label=label, height=height)


def percent_axis(axis: mpl.axis.Axis) -> None:
    """Label an axis of shares in percent."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 6):g} %"))


def plain_label(text: str, *, length: int = 22) -> str:
    """Return a text that any font can draw, in ASCII and no longer than this."""
    drawable = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return drawable if len(drawable) <= length else drawable[: length - 2] + ".."


def _inline(document: str, *, label: str, height: int) -> Markup:
    body = document[document.index(">", document.index("<svg")) + 1 : document.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _page_tag(tag.group()), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>')
    return opening.format(WIDTH, height, label, label) + Markup(body + "</svg>")  # noqa: S704 - matplotlib escapes text


def _page_tag(tag: str) -> str:
    """The tag without a group's id, which other pictures share, and with the page's font and colours."""
    tag = re.sub(r'<g id="[^"]*"', "<g", tag)
    tag = re.sub(r'\s*font-family:[^;"]*;?', "", tag)
    return re.sub(r"#[0-9a-f]{6}(?=[;\"])", lambda colour: f"var({_THEME[colour.group()]})", tag)
