"""Model shapes, their exact parameter counts and the study's size grid."""

from dataclasses import dataclass

VOCABULARY_SIZE = 128  # the study pads its vocabulary to 128


@dataclass(frozen=True)
class Shape:
    """A transformer of `layers` blocks: width `hidden`, gated MLP of width `ffn`, `heads` heads."""

    layers: int
    hidden: int
    ffn: int
    heads: int

    def n_params(self, recipe: str) -> int:
        """Non-embedding parameters of a recipe.

        `study`: N = L(4d² + 3df + 9d + 2f) + 2d. Attention 4d² + 4d, GEGLU 3df + 2f + d, two
        LayerNorms 4d per layer; a final LayerNorm 2d. The formula gives the counts of the study's
        logs to the last digit (Cheng et al., 2024).
        `prenorm`: N = L(4d² + 3df + 2d + 2d/heads) + d. No biases; two RMSNorms per layer, one each
        on the channels of queries and keys, and a final one.
        """
        d, f = self.hidden, self.ffn
        matrices = 4 * d * d + 3 * d * f
        if recipe == "prenorm":
            return self.layers * (matrices + 2 * d + 2 * d // self.heads) + d
        return self.layers * (matrices + 9 * d + 2 * f) + 2 * d

    def n_params_total(self, recipe: str) -> int:
        """All parameters; input and output embeddings are tied."""
        return self.n_params(recipe) + VOCABULARY_SIZE * self.hidden


def _grid() -> dict[str, Shape]:
    """The study's sizes, decoded from the exact counts in its logs.

    ffn is floor(8d/3) but for 13M, 34M and 65M, where it is 4d, and for 2.8B and 10.7B, whose
    released configurations have other values near 8d/3. Heads have 64 channels, 128 in 7.2B
    and 136 in 10.7B as in the released models; for sizes below 1B the study does not state them.
    """
    layers_and_width = {
        "3.5M": (8, 192), "6M": (8, 256), "10M": (8, 320), "13M": (8, 320), "20M": (8, 448),
        "25M": (8, 512), "34M": (8, 512), "40M": (10, 576), "47M": (12, 576), "65M": (10, 640),
        "85M": (12, 768), "106M": (15, 768), "127M": (18, 768), "154M": (16, 896),
        "170M": (24, 768), "200M": (21, 896), "230M": (24, 896), "300M": (24, 1024),
        "393M": (20, 1280), "470M": (24, 1280), "550M": (28, 1280), "680M": (24, 1536),
        "880M": (23, 1792), "1.2B": (24, 2048), "1.5B": (24, 2304), "1.7B": (28, 2304),
        "2.0B": (26, 2560), "2.4B": (30, 2560), "2.8B": (36, 2560), "3.4B": (36, 2816),
        "4B": (36, 3072), "5B": (40, 3200), "6B": (40, 3584), "7.2B": (36, 4096),
        "10.7B": (47, 4352),
    }  # fmt: skip
    other_ffn = {"13M": 1280, "34M": 2048, "65M": 2560, "2.8B": 6832, "10.7B": 11606}
    channels = {"7.2B": 128, "10.7B": 136}
    return {
        name: Shape(
            layers=layers,
            hidden=width,
            ffn=other_ffn.get(name, 8 * width // 3),
            heads=width // channels.get(name, 64),
        )
        for name, (layers, width) in layers_and_width.items()
    }


STUDY_GRID = _grid()


def _small() -> dict[str, Shape]:
    """Sizes below the study's, for little compute or few proteins: each about 1.6 times the last.

    Below 10,000 parameters one layer: there width is worth more than depth. ffn is floor(8d/3).
    """
    layers_width_and_heads = {
        "250": (1, 4, 1), "530": (1, 6, 1), "890": (1, 8, 1), "1.3k": (1, 10, 1),
        "1.9k": (1, 12, 1), "3.3k": (1, 16, 1), "5.1k": (1, 20, 1), "7.3k": (1, 24, 1),
        "13k": (1, 32, 1), "26k": (2, 32, 1), "40k": (2, 40, 1), "57k": (2, 48, 1),
        "100k": (2, 64, 1), "150k": (3, 64, 1), "230k": (3, 80, 1), "340k": (3, 96, 2),
        "560k": (5, 96, 2), "790k": (4, 128, 2), "1.2M": (6, 128, 2), "1.9M": (6, 160, 2),
        "2.7M": (6, 192, 3),
    }  # fmt: skip
    return {
        name: Shape(layers, width, 8 * width // 3, heads)
        for name, (layers, width, heads) in layers_width_and_heads.items()
    }


SHAPES = _small() | STUDY_GRID
"""All that a config can name without saying what they are, from the smallest."""
