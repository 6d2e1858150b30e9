"""Measures of proteins by other models: perplexity, structures, and how near known ones these are.

What they need does not come with this project.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import TypeVar

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.downstream.generation.by_models.measured import (
    NOT_GIVEN,
    PERPLEXITY,
    STRUCTURES,
    TM_SCORE,
    Measured,
)
from plm_scaling.downstream.generation.by_models.perplexity import nats_by
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins

FOLDSEEK, TMTOOLS = "foldseek", "tmtools"  # on PATH, a package
NO_STRUCTURES = (
    "give a folder of known structures: --structures, or in a config "
    "downstream.generation.structures"
)
NO_ALIGNER = "neither Foldseek nor TM-align is installed: pip install tmtools"
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
        """The models by name; "" where there is none."""
        return {
            "model": self.perplexity_by or "",
            "esmfold": str(self.esmfold or ""),
            "structures": str(self.structures or ""),
        }

    def measured(self, proteins: Proteins, name: str = "") -> Measured:
        """Of the proteins, whatever the name of their set is."""
        missing = dict(NOT_GIVEN)
        by, esmfold, known = self.perplexity_by, self.esmfold, self.structures
        aligner = which(FOLDSEEK) or (TMTOOLS if find_spec(TMTOOLS) else "")
        nats = plddt = tm_score = None
        if by is not None:
            nats = self._tried(missing, (PERPLEXITY,), lambda: nats_by(by, proteins, self.threads))
        if esmfold is not None:
            folded = self._tried(missing, STRUCTURES, lambda: self._folded(esmfold, proteins))
            plddt, places = folded or (None, None)
            if places is None:
                missing[TM_SCORE] = missing[STRUCTURES[0]]
            elif known is None:
                missing[TM_SCORE] = NO_STRUCTURES
            elif not aligner:
                missing[TM_SCORE] = NO_ALIGNER
            else:
                tm_score = self._tried(
                    missing, (TM_SCORE,), lambda: self._aligned(aligner, proteins, places, known)
                )
        facts = self.facts | {"tm_scores_by": "" if tm_score is None else Path(aligner).name}
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
            missing |= dict.fromkeys(measures, str(error))
            return None

    def _folded(self, folder: Path, proteins: Proteins) -> tuple[Doubles, list[Doubles]]:
        from plm_scaling.downstream.generation.by_models.esmfold import predicted  # PyTorch

        return predicted(proteins, folder, self.threads)

    def _aligned(
        self, aligner: str, proteins: Proteins, places: list[Doubles], known: Path
    ) -> Doubles:
        if aligner == TMTOOLS:
            from plm_scaling.downstream.generation.by_models.tm_align import tm_scores

            return tm_scores(proteins, places, known)
        from plm_scaling.downstream.generation.by_models.foldseek import foldseek_scores

        return foldseek_scores(aligner, proteins, places, known, self.threads)


NO_MODELS = OtherModels()
