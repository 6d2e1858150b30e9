"""Protein chains from mmCIF and PDB files, read with gemmi, and their contact maps."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import DownstreamError

Map = NDArray[np.int8]
Points = NDArray[np.float64]

CONTACT, APART, UNKNOWN = 1, 0, -1
CONTACT_ANGSTROM = 8.0
# Where Cβ lies by N, Cα and C: length of the bond (Å), its angle with N and the dihedral (radians),
# as trRosetta and Rao et al. (2021) place it in every residue, glycine too.
_BOND, _ANGLE, _DIHEDRAL = 1.522, 1.927, -2.143
_BROKEN_ANGSTROM = 4.5  # between the Cα of neighbours; 3.8 where the chain goes on
_SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")
_ARCHIVES = (".tar", ".tgz")
_PROTEIN = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)


@dataclass(frozen=True)
class Chain:
    """One protein chain, with the places [residues, 3] of its Cα and Cβ in Å: NaN where an atom is
    missing, for Cβ also where a part of the backbone is, or the kind of residue is unknown."""

    name: str
    sequence: str
    alpha: Points
    beta: Points

    @cached_property
    def contacts(self) -> Map:
        """A map [residues, residues]: `CONTACT` where the Cβ of two residues are less than 8 Å
        apart, else `APART`, and `UNKNOWN` in the rows and columns of residues whose Cβ is."""
        apart = np.linalg.norm(self.beta[:, None] - self.beta[None], axis=-1)
        contacts = np.where(apart < CONTACT_ANGSTROM, CONTACT, APART).astype(np.int8)
        contacts[np.isnan(apart)] = UNKNOWN
        return contacts


def is_structure(path: Path) -> bool:
    """Whether it is called as a structure file is, or an archive (tar) of such files."""
    return path.name.removesuffix(".gz").endswith(_SUFFIXES + _ARCHIVES)


def read_chains(path: Path) -> Iterator[Chain]:
    """The protein chains of the first model of a structure file (plain or gzip), or of each file in
    an archive; chains of the same sequence in a file are given once.

    Sequences are those of the whole polymer where the file has them (SEQRES, entity_poly_seq); if
    not, residues that the numbering skips at a break of the chain are X. Of alternative conformers
    the first is taken; modified residues have the letter of what they were made from (MSE is M).
    Raises `DownstreamError` for a file that is no structure, or has no protein.
    """
    try:
        if path.name.removesuffix(".gz").endswith(_ARCHIVES):
            with tarfile.open(path) as archive:
                for member in sorted(archive.getmembers(), key=lambda one: one.name):
                    stored = archive.extractfile(member) if member.isfile() else None
                    if stored is not None and Path(member.name).suffix in _SUFFIXES:
                        yield from _chains(f"{path}, {member.name}", member.name, stored.read())
        else:
            data = path.read_bytes()
            plain = gzip.decompress(data) if path.suffix == ".gz" else data
            yield from _chains(str(path), path.name.removesuffix(".gz"), plain)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DownstreamError(f"{path} cannot be read ({error}); get the file again") from error


def _chains(where: str, name: str, data: bytes) -> Iterator[Chain]:
    try:
        structure = gemmi.read_structure_string(data)
    except (RuntimeError, ValueError) as error:
        raise DownstreamError(
            f"{where}: neither mmCIF nor PDB ({error}); get the file again"
        ) from error
    structure.setup_entities()
    structure.assign_label_seq_id()
    structure.remove_alternative_conformations()
    found: dict[str, Chain] = {}
    models = list(structure)[:1]
    chains = [chain for model in models for chain in model]
    for chain in chains:
        polymer = chain.get_polymer()
        if len(polymer) == 0 or polymer.check_polymer_type() not in _PROTEIN:
            continue
        entity = structure.get_entity_of(polymer)
        kinds = [gemmi.Entity.first_mon(one) for one in entity.full_sequence] if entity else []
        residues = list(polymer)
        places = [(residue.label_seq or 0) - 1 for residue in residues]
        if min(places) < 0 or max(places) >= len(kinds):  # no whole sequence, or not of this chain
            places = _places_by_number(residues)
            kinds = ["UNK"] * (places[-1] + 1)
        for place, residue in zip(places, residues, strict=True):
            kinds[place] = residue.name
        sequence = "".join(map(_letter, kinds))
        alpha, beta = np.full((2, len(kinds), 3), np.nan)
        alpha[places], beta[places] = _atoms(residues, "CA"), _beta_carbons(residues)
        beta[[letter == "X" for letter in sequence]] = np.nan
        stem = Path(name).stem
        title = stem if len(chains) == 1 else f"{stem}_{chain.name}"
        found.setdefault(sequence, Chain(title, sequence, alpha, beta))
    if not found:
        raise DownstreamError(f"{where} has no protein chain; leave the file out")
    yield from found.values()


def _letter(kind: str) -> str:
    found = gemmi.find_tabulated_residue(kind)
    letter = found.one_letter_code.upper()
    return letter if letter.strip() else "X"


def _places_by_number(residues: list[gemmi.Residue]) -> list[int]:
    """Places from 0, with those left free that the numbering skips where the chain is broken."""
    alpha = _atoms(residues, "CA")
    step = np.linalg.norm(np.diff(alpha, axis=0), axis=1)
    numbers = [residue.seqid.num or 0 for residue in residues]
    places = [0]
    for i, length in enumerate(step):
        skipped = numbers[i + 1] - numbers[i] - 1
        places.append(places[-1] + 1 + max(skipped, 0) * (not length < _BROKEN_ANGSTROM))
    return places


def _beta_carbons(residues: list[gemmi.Residue]) -> Points:
    """Places [residues, 3] of Cβ by the backbone; NaN where an atom of it is missing."""
    nitrogen, alpha, carbon = (_atoms(residues, name) for name in ("N", "CA", "C"))
    with np.errstate(invalid="ignore"):
        along = _unit(nitrogen - alpha)
        normal = _unit(np.cross(nitrogen - carbon, along))
    return (
        alpha
        + _BOND * np.cos(_ANGLE) * along
        + _BOND * np.sin(_ANGLE) * np.cos(_DIHEDRAL) * np.cross(normal, along)
        - _BOND * np.sin(_ANGLE) * np.sin(_DIHEDRAL) * normal
    )


def _unit(vectors: Points) -> Points:
    length: Points = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / length


def _atoms(residues: list[gemmi.Residue], name: str) -> Points:
    found = np.full((len(residues), 3), np.nan)
    for i, residue in enumerate(residues):
        atom = residue.find_atom(name, "*")
        if atom is not None:
            found[i] = atom.pos.tolist()
    return found
