"""Training and natural proteins of FASTA files, which generated ones are compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from plm_scaling.downstream.generation.known.training import Training, read_training
from plm_scaling.downstream.generation.proteins import Proteins, natural_proteins
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.sources.read.inputs import Survey, readable, shown


def survey(out: Path, of: str, skip_bad: bool) -> Survey:
    """Counts what cannot be used of one of the inputs of a judgement `out`."""
    return Survey(out.with_name(f"{out.name}.{of}"), skip_bad)


@dataclass(frozen=True)
class Files:
    """`against` are FASTA files of training sequences, `natural` of held-out ones (none: [])."""

    against: list[Path]
    natural: list[Path]
    skip_bad: bool = False

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """The same of files that can be read more than once."""
        with (
            readable(self.against, "fasta") as against,
            readable(self.natural, "fasta") as natural,
        ):
            yield replace(self, against=against, natural=natural)

    @property
    def facts(self) -> dict[str, str]:
        """What the table of a judgement says of them."""
        files = {"against": self.against, "natural": self.natural}
        return {name: " ".join(shown(str(path)) for path in own) for name, own in files.items()}

    @property
    def state(self) -> Any:
        """What says that training is the same as at an earlier attempt."""
        return {str(path): [*_version(path)] for path in self.against}

    def natural_proteins(self, number: int, seed: int, out: Path) -> Proteins | None:
        """`number` held-out proteins, drawn by `seed`; None where there are no files of them."""
        if not self.natural:
            return None
        return natural_proteins(self.natural, number, seed, survey(out, "natural", self.skip_bad))

    def training(self, steps: Steps, wanted: np.ndarray) -> Training:
        """The training sequences; `wanted` are the digests to look for among them."""
        found = survey(steps.out, "against", self.skip_bad)
        made = steps.run("training", lambda path: read_training(self.against, wanted, found, path))
        return Training.open(made)


def _version(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change (ns) of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
