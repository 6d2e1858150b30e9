"""What readers of all formats yield: records that are kept, and those that are not, with why."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Rejected(NamedTuple):
    """One record that cannot be used. `record` counts from 1, across the files of a source; `line`
    is that in `file`, None where lines do not count (an archive's members, XML); `residues` are its
    characters without blanks. `character` is the first that may not be there, as text (`-`,
    `\\x00`), and `times` how many such characters the record has."""

    record: int
    line: int | None
    id: bytes
    residues: int
    reason: str
    character: str = ""
    times: int = 0
    file: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As tables have it."""
        return self._asdict() | {"id": self.id.decode(errors="replace")}

    def __str__(self) -> str:
        text = f"record {self.record}"
        if self.line is not None:
            text += f" in line {self.line}"
        if self.file:
            text += f" of {self.file}"
        text += f" ({self.row['id']!r}: {self.reason.replace('_', ' ')}"
        if self.character:
            text += f" '{self.character}', {self.times} in all"
        return text + (", is a line end missing before it?)" if self.character == ">" else ")")


@dataclass
class Records:
    """Consecutive records: `ids[i]` names `sequences[i]`, upper-case residues or a document.

    They are the records from number `first` on without those in `rejected`. `handled` maps what
    was fixed (lower_case, windows_line_ends, trailing_star) to numbers of records and residues.
    """

    ids: list[bytes]
    sequences: list[bytes]
    first: int
    handled: dict[str, tuple[int, int]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.ids) + len(self.rejected)
