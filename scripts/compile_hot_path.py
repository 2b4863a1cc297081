"""Build hook: compiles the modules that touch every packet with Cython (pure-Python mode).

Without a C compiler the wheel is built all the same, from the same files uncompiled: the program gives the same
answers, only slower, and `captool --version` says which of the two is installed.
"""

import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# boundscheck stays on: captures are hostile input. The few functions that every packet goes through switch it off and check once for each
# header or frame instead of once for each byte, which took half of their time. Overflow is masked explicitly in the code, as plain Python needs it.
DIRECTIVES = {"language_level": 3, "boundscheck": True, "wraparound": False, "initializedcheck": False, "cdivision": True}
OPTIONS = ["-O2", "-g0"]  # -O3 takes a quarter longer and the result is no faster
HELPERS = "captool._cyutility"
# The compiled modules cimport the numbers of these; the declarations are made here, so that they stand once.
NUMBERS = ("captool/capture/literals.py", "captool/tcp/layout.py")


class CompileHotPath(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("CAPTOOL_UNCOMPILED"):
            return
        self.scratch = Path(tempfile.mkdtemp(prefix="captool-build-"))
        try:
            built = compile_modules(Path(self.root), self.config["modules"], self.scratch)
        except BaseException as failure:  # distutils leaves with SystemExit, Cython and the compiler with errors of their own
            if isinstance(failure, KeyboardInterrupt):
                raise
            print(f"captool: hot path not compiled ({failure}); captool works, only slower. Remedy: install a C compiler "
                  "and Python's headers, then reinstall.", file=sys.stderr)
            return
        build_data["force_include"].update(built)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "scratch"):
            shutil.rmtree(self.scratch, ignore_errors=True)


def compile_modules(root: Path, modules: list[str], scratch: Path) -> dict[str, str]:
    """Compiled file -> its place in the wheel, for each of `modules` (paths below `root`)."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    # What Cython's own helpers would take in each of the modules (half of the C code, more than half of the compiler's time) is compiled once.
    helpers = Extension(HELPERS, [HELPERS.replace(".", "/") + ".c"], extra_compile_args=OPTIONS)
    source = scratch / "source"
    shutil.copytree(root / "captool", source / "captool", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for module in NUMBERS:
        (source / module).with_suffix(".pxd").write_text(c_constants(source / module))
    before = Path.cwd()
    os.chdir(source)
    try:
        extensions = cythonize(
            [helpers, *(Extension(name.removesuffix(".py").replace("/", "."), [name], extra_compile_args=OPTIONS) for name in modules)],
            build_dir=str(scratch / "c"), compiler_directives=DIRECTIVES, shared_utility_qualified_name=HELPERS, quiet=True,
        )
        command = build_ext(Distribution({"name": "captool", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(scratch / "lib"), str(scratch / "tmp")
        command.parallel = True
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    library = scratch / "lib"
    return {str(path): str(path.relative_to(library)) for path in library.rglob("*") if path.is_file()}


def c_constants(module: Path) -> str:
    """Declarations of the numbers in a module of nothing but constants, as literals of 64 bits: looked up by name they would cost."""
    numbers = {name: value for name, value in runpy.run_path(str(module)).items() if isinstance(value, int) and not name.startswith("_")}
    lines = []
    for name, value in numbers.items():
        unsigned = value >> 63 == 1
        lines.append(f'    const {"unsigned " if unsigned else ""}long long {name} "{value:#x}{"U" if unsigned else ""}LL"\n')
    return "cdef extern from *:\n" + "".join(lines)
