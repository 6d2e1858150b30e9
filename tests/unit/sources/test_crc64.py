import numpy as np
import pytest
from Bio.SeqUtils import CheckSum
from hypothesis import example, given
from hypothesis import strategies as st

from plm_scaling.sources.read.crc64 import BATCH, WINDOW, crc64

INSULIN = (
    b"MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQC"
    b"CTSICSLYQLENYCN"
)


def biopython(sequence: bytes) -> int:
    return int(CheckSum.crc64(sequence.decode("latin-1")).removeprefix("CRC-"), 16)


def test_published_checksums() -> None:
    """P01308 as UniProt states it; the other value is in Biopython's own tests."""
    assert crc64([INSULIN, b"ACGTACGTACGT"]).tolist() == [0xC2C3B23B85E520E5, 0xC4FBB762C4A87EBD]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=2 * BATCH))
@example([bytes([n]) * (n + 1) for n in range(2 * BATCH + 1)])
def test_many_sequences_agree_with_biopython(sequences: list[bytes]) -> None:
    assert crc64(sequences).tolist() == [biopython(sequence) for sequence in sequences]


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("more", [-17, -16, -9, -8, -7, -1, 0, 1, 7, 8, 9])
def test_sequences_beyond_the_window_agree_with_biopython(windows: int, more: int) -> None:
    sequence = np.random.default_rng(more + 20).bytes(windows * WINDOW + more)
    assert crc64([b"MK", sequence]).tolist() == [biopython(b"MK"), biopython(sequence)]
