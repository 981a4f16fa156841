"""The kernels in ``c/``, put together: each file at most once, behind what it includes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_FOLDER = Path(__file__).with_name("c")
_INCLUDE = re.compile(r'#include (?:"([a-z0-9_]+\.[ch])"|<([a-z0-9_]+\.h)>)\n+')


def gather(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """(system headers, source texts) of these files of ``c/`` and of all that they include, what is needed first."""
    headers: set[str] = set()
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = (_FOLDER / name).read_text(encoding="ascii")
        for own, system in _INCLUDE.findall(text):
            if own:
                add(own)
            else:
                headers.add(system)
        texts[name] = _INCLUDE.sub("", text)

    for name in names:
        add(name)
    return sorted(headers), list(texts.values())
