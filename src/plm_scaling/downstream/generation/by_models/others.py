"""Measures of proteins by other models: perplexity, structures, and how near known ones these are.

What they need does not come with this project.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TypeVar

from plm_scaling.common.errors import DownstreamError, PlmScalingError
from plm_scaling.downstream.generation.by_models.measured import (
    NOT_GIVEN,
    PERPLEXITY,
    STRUCTURES,
    TM_SCORE,
    Measured,
)
from plm_scaling.downstream.generation.by_models.perplexity import nats_by
from plm_scaling.downstream.generation.by_models.structures import check_esmfold, kept_structures
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.inference.models.describe import describe

FOLDSEEK, TMTOOLS = "foldseek", "tmtools"  # on PATH, a package
NO_STRUCTURES = (
    "give a folder of known structures: --structures, or in a config "
    "downstream.generation.structures"
)
NO_ALIGNER = "neither Foldseek nor TM-align is installed: pip install tmtools"
AGAIN = "; then run snakemake downstream --forcerun measure_proteins"
"""In a study, which does not see by itself that a program was installed or a file corrected."""
T = TypeVar("T")


@dataclass(frozen=True)
class OtherModels:
    """`perplexity_by` is any model, `esmfold` the folder of a predictor of structures, `structures`
    one of known structures; None: what they measure is missing.

    `lenient`: so is, with its reason, what cannot be measured because a model, a folder or a
    package is not there; else that raises `PlmScalingError`.
    """

    perplexity_by: str | None = None
    esmfold: Path | None = None
    structures: Path | None = None
    threads: int = 1
    lenient: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """The models, and what compares structures, by name; "" where there is none."""
        compared = self.esmfold is not None and self.structures is not None
        return {
            "model": self.perplexity_by or "",
            "esmfold": str(self.esmfold or ""),
            "structures": str(self.structures or ""),
            "tm_scores_by": Path(_aligner()).name if compared else "",
        }

    def check(self) -> None:
        """Raises `PlmScalingError` if a model, a folder or a package is not there: at once, without
        PyTorch."""
        if self.perplexity_by is not None:
            describe(self.perplexity_by)
        if self.esmfold is not None:
            check_esmfold(self.esmfold)
            if self.structures is not None:
                _comparable(self.structures)

    def measured(self, proteins: Proteins, name: str, kept: Path) -> Measured:
        """Of the proteins, whatever the `name` of their set is. Structures are taken from the file
        `kept`, if they are there, or put there."""
        missing = dict(NOT_GIVEN)
        by, esmfold, structures = self.perplexity_by, self.esmfold, self.structures
        nats = plddt = places = known = tm_score = None
        if esmfold is not None and structures is None:
            missing[TM_SCORE] = NO_STRUCTURES
        elif esmfold is not None and structures is not None:  # said before hours of folding
            known = self._tried(missing, (TM_SCORE,), lambda: _comparable(structures))
        if by is not None:
            nats = self._tried(missing, (PERPLEXITY,), lambda: nats_by(by, proteins, self.threads))
        if esmfold is not None:
            folded = self._tried(
                missing,
                STRUCTURES,
                lambda: kept_structures(kept, proteins, esmfold, self.threads),
            )
            plddt, places = folded or (None, None)
            if places is None:
                missing[TM_SCORE] = missing[STRUCTURES[0]]
            elif known is not None:
                tm_score = self._tried(
                    missing, (TM_SCORE,), lambda: self._aligned(proteins, places, known)
                )
        facts = self.facts | ({"tm_scores_by": ""} if tm_score is None else {})
        return Measured(nats, plddt, tm_score, missing, facts)

    def _tried(
        self, missing: dict[str, str], measures: tuple[str, ...], make: Callable[[], T]
    ) -> T | None:
        """What is made; where that cannot be and `lenient`, None and the reason in `missing`."""
        try:
            return make()
        except PlmScalingError as error:
            if not self.lenient:
                raise
            missing |= dict.fromkeys(measures, f"{error}{AGAIN}")
            return None

    def _aligned(self, proteins: Proteins, places: list[Doubles], known: Path) -> Doubles:
        if (aligner := _aligner()) == TMTOOLS:
            from plm_scaling.downstream.generation.by_models.tm_align import tm_scores

            return tm_scores(proteins, places, known)
        from plm_scaling.downstream.generation.by_models.foldseek import foldseek_scores

        return foldseek_scores(aligner, proteins, places, known, self.threads)


def _aligner() -> str:
    """Foldseek's program, or the name of the package with TM-align; "" without either."""
    return which(FOLDSEEK) or (TMTOOLS if find_spec(TMTOOLS) else "")


def _comparable(known: Path) -> Path:
    """The folder of known structures; raises `DownstreamError` if nothing can be compared with it.
    Foldseek also reads what lies in folders of it, under any name."""
    if not (aligner := _aligner()):
        raise DownstreamError(NO_ALIGNER)
    if aligner == TMTOOLS:
        from plm_scaling.downstream.generation.by_models.tm_align import structure_files

        structure_files(known)
    elif not any(known.glob("*")):
        raise DownstreamError(f"{known}: no PDB or mmCIF file; put known structures there")
    return known


NO_MODELS = OtherModels()
