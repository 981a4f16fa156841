"""The command line: ``commands.py`` holds no algorithm, ``terminal.py`` prints, ``arguments.py`` names what is typed,
``words.py`` says what it stands for.
"""

from camfit.cli.commands import app, main

__all__ = ["app", "main"]
