"""HTML by small functions. Text is escaped unless it is :class:`Markup`, so forgetting to escape cannot happen."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

_VOID = frozenset({"br", "hr", "meta", "wbr"})
# Control characters and lone surrogates are not allowed in HTML; bidirectional overrides reorder what people see.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]")


class Markup(str):
    """Text that already is HTML."""

    __slots__ = ()


Child = str | Iterable[str] | None
Attributes = Mapping[str, str | float | None]


def escape(text: str) -> Markup:
    """Text as HTML; characters that HTML does not allow become the replacement character."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNSAFE.sub("�", text), quote=True))


def join(*children: Child) -> Markup:
    """The children one after the other; None is left out, plain text is escaped."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(escape(child))
        elif child is not None:
            parts.extend(escape(item) for item in child)
    return Markup("".join(parts))


def element(name: str, attributes: Attributes | None = None, *children: Child) -> Markup:
    """An element. An attribute of None is left out; a number is written short."""
    written = "".join(
        f' {key}="{escape(value) if isinstance(value, str) else number(value)}"'
        for key, value in (attributes or {}).items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def number(value: float) -> str:
    """A coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def section(identifier: str, title: str, *children: Child) -> Markup:
    """A titled section of the page."""
    heading = element("h2", {"id": f"{identifier}-title"}, title)
    return element("section", {"id": identifier, "aria-labelledby": f"{identifier}-title"}, heading, *children)


def scroll_table(
    label: str,
    head: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    foot: Iterable[Child] | None = None,
    kind: str = "whole",
) -> Markup:
    """A table in a box that scrolls by itself when it is wider than the page; the first cell of a row is its header.

    The kind "whole" never breaks a cell into lines.
    """

    def row(cells: Iterable[Child], first: bool) -> Markup:
        written = []
        for index, cell in enumerate(cells):
            scope = "col" if first else "row" if index == 0 else None
            written.append(element("th" if scope else "td", {"scope": scope}, cell))
        return element("tr", None, written)

    table = element(
        "table",
        None,
        element("caption", {"class": "hidden"}, label),
        element("thead", None, row(head, True)),
        element("tbody", None, (row(cells, False) for cells in rows)),
        None if foot is None else element("tfoot", None, row(foot, False)),
    )
    return element("div", {"class": f"scroll {kind}", "tabindex": "0", "role": "region", "aria-label": label}, table)


def key(*entries: tuple[str, str], note: str = "") -> Markup:
    """The legend of a figure: swatches by class, each with its meaning."""
    parts = [
        element("span", None, element("span", {"class": f"swatch {kind}", "aria-hidden": "true"}), meaning)
        for kind, meaning in entries
    ]
    return element("p", {"class": "key"}, parts, element("span", None, note) if note else None)


def details(summary: str, *children: Child) -> Markup:
    """A part that opens on demand."""
    return element("details", None, element("summary", None, summary), *children)


def estimate_mark(basis: str | None) -> Markup | None:
    """A mark beside a figure that was not measured."""
    if basis is None or "estimate" not in basis.lower():
        return None
    return element("span", {"class": "chip estimate"}, "estimate")
