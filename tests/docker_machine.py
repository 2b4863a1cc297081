"""docker-machine storage directories for tests, made by the same code that the lab uses."""

import datetime
import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

templates: Path | None = None  # where sets of keys are made; conftest.py names a folder that pytest removes in time
LAB = Path(__file__).parent.parent / "scripts" / "lab"
NOW = datetime.datetime(2026, 11, 23, 6, 0, tzinfo=datetime.UTC)


@cache
def certificates() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_certificates", LAB / "certificates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _template(generation: int) -> Path:
    """Making three RSA keys takes a while: every set is made once and copied."""
    storage = Path(tempfile.mkdtemp(prefix="machine-", dir=templates))
    certificates().write_storage(storage, "runner-1", "10.77.2.2", NOW)
    return storage


def machine(storage: Path, name: str = "runner-1", *, generation: int = 1) -> Path:
    """A machine's directory in a storage; `generation` chooses between sets of keys."""
    directory = storage / "machines" / name
    storage.mkdir(mode=0o700, exist_ok=True)
    shutil.copytree(_template(generation) / "machines" / "runner-1", directory, dirs_exist_ok=True)
    return directory
