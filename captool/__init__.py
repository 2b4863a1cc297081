"""captool: why a Docker stream died, read from a packet capture.

`captool.analyze(paths, keys=...)` returns an `Analysis` made of frozen dataclasses; nothing is printed. The names
are loaded on first use, so that `captool --help` answers at once.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["Analysis", "analyze"]

TYPE_CHECKING = False  # to import typing for it takes longer than all else that is imported before Ctrl-C is dealt with
if TYPE_CHECKING:
    from captool.analysis import Analysis, analyze


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("captool.analysis"), name)
    raise AttributeError(f"module 'captool' has no attribute {name!r}")
