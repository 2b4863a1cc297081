"""Which cloud this machine is in, from what its firmware says of itself (DMI, /sys/class/dmi/id). Nothing is sent anywhere."""

import tomllib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

DMI: Final = Path("/sys/class/dmi/id")
FIELDS: Final = ("sys_vendor", "product_name", "bios_vendor", "bios_version", "chassis_asset_tag")
MAX_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class CloudRule:
    """One table of `clouds.toml`, which explains the fields."""

    name: str
    field: str
    value: str
    always: tuple[str, ...]
    possible: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """The cloud that was recognised, None where none was; `dmi` are the fields that could be read."""

    rule: CloudRule | None
    dmi: dict[str, str]

    @property
    def evidence(self) -> str:
        """In what it was recognised, or that there was nothing to recognise it in."""
        if self.rule is not None:
            return f"{self.rule.field} is {self.dmi[self.rule.field]!r}"
        return "firmware names no cloud that is known" if self.dmi else "this machine shows no DMI data"


@cache
def cloud_rules() -> tuple[CloudRule, ...]:
    """The rules in the order of the file."""
    document = tomllib.loads((files("captool.doctor") / "clouds.toml").read_text(encoding="utf-8"))
    return tuple(
        CloudRule(one["name"], one["field"], one["value"], tuple(one["always"]), tuple(one["possible"]), one["source"])
        for one in document.values()
    )


def find_cloud(dmi: Path = DMI) -> Cloud:
    """What the DMI fields say; a field that cannot be read is left out."""
    fields = {}
    for name in FIELDS:
        with suppress(OSError), (dmi / name).open("rb") as file:
            if text := file.read(MAX_BYTES).decode("utf-8", "replace").strip():
                fields[name] = text
    rule = next((rule for rule in cloud_rules() if rule.value in fields.get(rule.field, "")), None)
    return Cloud(rule, fields)
