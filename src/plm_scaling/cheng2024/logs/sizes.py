"""From a size in a file name to a model of the study, with its exact number of parameters."""

from dataclasses import dataclass

from plm_scaling.study.shapes import STUDY_GRID, Shape


@dataclass(frozen=True)
class Size:
    """A model size: its name in the study's grid, and N without and with embeddings.

    `n_params_total` is None where only the nominal N is known.
    """

    name: str
    n_params: int
    n_params_total: int | None
    exact: bool = True


# Shapes that only the logs know. Each is the one shape on the formula of `Shape` (widths in steps
# of 32, FFN 8d/3 or 4d) whose N equals that of the logged FLOPs axis to its last digit.
LOGGED_SHAPES = {
    "170M-wide": Shape(18, 768, 3072, 12),  # "127M" with an FFN of 4d, like 13M, 34M and 65M
    "280M": Shape(22, 1024, 2730, 16),
    "609M": Shape(31, 1280, 3413, 20),
    "736M": Shape(26, 1536, 4096, 24),
}
# The axis of the 10.7B has 284·4352 parameters more than its shape: 6 vectors per layer and 2
# more, probably norms that the other models do not have.
LARGEST_EXTRA = 4352 * (6 * 47 + 2)
SIZES = {
    name: Size(name, shape.n_params("study"), shape.n_params_total("study"))
    for name, shape in (STUDY_GRID | LOGGED_SHAPES).items()
} | {
    "10.7B": Size(
        "10.7B",
        STUDY_GRID["10.7B"].n_params("study") + LARGEST_EXTRA,
        STUDY_GRID["10.7B"].n_params_total("study") + LARGEST_EXTRA,
    ),
    # No file logs the FLOPs of this model; 12·L·d² is 157.3M for 8×1280 and for 32×640.
    "157M": Size("157M", 157_000_000, None, exact=False),
}

# Names that mean another size than they say: the names count 12·L·d² of the first models, whose FFN
# is 4d wide with a gate (16·L·d²), or are rounded.
NOMINAL = {
    "10M": "13M",
    "10.1M": "10M",
    "25M": "34M",
    "25.1M": "25M",
    "49M": "65M",
    "130M": "127M",
    "157m": "157M",
    "500M": "680M",
    "1b": "1.2B",
    "3b": "2.8B",
    "7b": "7.2B",
    "10b": "10.7B",
}


IN_FOLDERS = {"7B": "7.2B", "10B": "10.7B"}  # the other folders are named by the size itself


def size_named(name: str) -> Size | None:
    """The size that a file name's `10M` or `3.4b` means; None if the study has no such name."""
    return SIZES.get(NOMINAL.get(name, name)) or SIZES.get(NOMINAL.get(name, name).upper())


def size_of_folder(name: str) -> Size | None:
    """The size that a folder's `25M` means: unlike files, folders say the true one."""
    return SIZES.get(IN_FOLDERS.get(name, name))
