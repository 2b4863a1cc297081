"""python -m fuzz.replay [FILE...]: the whole corpus, or these files, through their targets; one line for each with its answer.

    TARGET/FILE SHA-256-OF-THE-ANSWER

A target's name is the name of the directory that a file is in.
"""

import hashlib
import sys
from pathlib import Path

from captool.analysis import hot_path_compiled
from fuzz.fixture_keys import key_seeds
from fuzz.targets import CORPUS, TARGETS


def main() -> None:
    print("compiled" if hot_path_compiled() else "uncompiled", flush=True)
    files = [Path(name) for name in sys.argv[1:]]
    inputs = {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files or sorted(CORPUS.glob("*/*"))}
    for name, data in (inputs if files else inputs | key_seeds()).items():
        print(name, end=" ", flush=True)  # before the answer: a crash of the interpreter names its file
        answer = TARGETS[name.partition("/")[0]](data)
        print(hashlib.sha256(repr(answer).encode("utf-8", "surrogateescape")).hexdigest(), flush=True)


if __name__ == "__main__":
    main()
