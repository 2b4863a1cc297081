"""The command line: click handlers of a few lines each."""

import gc
import sys
from importlib.util import find_spec, module_from_spec

# Results grow and stay, and so do imported modules: going through them again and again finds nothing.
gc.set_threshold(500_000, 50, 100)


def import_later(name: str) -> None:
    """Let a module be executed not by `import`, but by the first look into it (PEP 562)."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader = spec.loader
    module = module_from_spec(spec)

    def look(attribute: str) -> object:
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__getattr__ = look  # type: ignore[method-assign]
    sys.modules[name] = module


import_later("inspect")  # of which click needs little, and seldom
