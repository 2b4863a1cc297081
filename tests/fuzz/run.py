"""python -m fuzz.run TARGET [libFuzzer's options and corpus directories]: coverage-guided, so with captool uncompiled."""

import sys

import atheris

# What a target calls is instrumented while it is imported; h11 because the way through it decides what the sniffer sees.
with atheris.instrument_imports(include=["captool", "h11"]):
    from captool.tcp import tracker
    from fuzz.targets import TARGETS


def main() -> None:
    if not tracker.__file__.endswith(".py"):
        sys.exit("captool is the compiled one here, in which atheris sees nothing: put the checkout into PYTHONPATH")
    name = sys.argv.pop(1)
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target(data)

    atheris.Setup(sys.argv, once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
