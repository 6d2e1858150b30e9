"""What readers of all formats yield: records that are kept, and those that are not, with why."""

from dataclasses import dataclass, field
from typing import NamedTuple


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
