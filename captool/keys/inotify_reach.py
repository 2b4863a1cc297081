"""Where inotify does not tell everything: file systems that are changed behind this kernel's back."""

import re
from pathlib import Path
from typing import Final

# inotify reports what goes through this kernel and this mount's inodes only (man 7 inotify, "Limitations and caveats").
NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "lustre", "gfs2", "ocfs2", "virtiofs", "beegfs"})
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def blind_spot(path: Path, mountinfo: str) -> str | None:
    """Why changes below `path` may go unnoticed by inotify, None where they do not. `mountinfo` is the text of /proc/self/mountinfo."""
    kind = _file_system(path.resolve(), mountinfo)
    if kind in NETWORK or kind.startswith("fuse"):
        return f"a {kind} file system, which other machines or programs change without a word to inotify"
    if kind == "overlay":
        return "an overlay, whose layers may be changed without a word to inotify"
    return None


def _file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds a path: of the mount points above it the deepest, of equal ones the last."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), types[0]
    return kind
