"""The report of a run: one self-contained HTML page that shows what was measured."""

from camfit.report.page import render, write

__all__ = ["render", "write"]
