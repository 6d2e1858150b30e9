"""The FASTA files that a command or a source is given: files, folders of them, standard input."""

from collections.abc import Sequence
from pathlib import Path

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.streams import STDIN, SUFFIXES

FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep")


def fasta_files(paths: Sequence[Path]) -> list[Path]:
    """The files meant by `paths`: a folder stands for the FASTA files in it, sorted, and `-` stays.

    Raises `SourceError` for a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir() and path != STDIN:
            found = sorted(one for one in path.iterdir() if one.is_file() and _is_fasta(one.name))
            if not found:
                raise SourceError(
                    f"{path} holds no FASTA file (no name ends in {', '.join(FASTA_SUFFIXES)}, "
                    f"alone or with {', '.join(SUFFIXES)}); give another folder, or the files"
                )
            files += found
        else:
            files.append(path)
    return files


def _is_fasta(name: str) -> bool:
    path = Path(name.lower())
    return (Path(path.stem) if path.suffix in SUFFIXES else path).suffix in FASTA_SUFFIXES
