"""What became of taking session keys, for the recording's manifest."""

from dataclasses import dataclass

from captool.goprogram.function_address import Source


@dataclass(frozen=True, slots=True)
class HookedProgram:
    """A program whose secrets are taken: its path (where it runs), the Go that built it, what its function's address is known from."""

    path: str
    go_version: str
    known_from: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class SessionKeysSummary:
    """`secrets` were written of `sessions` TLS sessions.

    `lost_events` did not fit into the kernel's buffer; `open_connections` are older than the recording and stay encrypted.
    """

    targets: tuple[str, ...]
    programs: tuple[HookedProgram, ...]
    secrets: int
    sessions: int
    lost_events: int
    open_connections: int
    remarks: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """As it stands in a manifest; it holds no secret."""
        return {
            "targets": list(self.targets),
            "programs": [{"path": each.path, "go_version": each.go_version, "known_from": list(each.known_from)} for each in self.programs],
            "secrets": self.secrets,
            "sessions": self.sessions,
            "lost_events": self.lost_events,
            "open_connections": self.open_connections,
            "remarks": list(self.remarks),
        }
