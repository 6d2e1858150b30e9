"""The protein vocabulary as files that `transformers` loads."""

from typing import Any

from plm_scaling.study.cell import Cell
from plm_scaling.tokens.format.vocabulary import RESIDUE_ID, RESIDUES, SPECIAL

SPECIAL_TOKENS = {f"<{name}>": number for name, number in SPECIAL.items()}
START, END = "<sop>", "<eod>"
# The letters in the order of the ids, from 1, of the models that the study released. Those have no
# J but `.`, which is no residue: J takes its place. Special tokens have the same ids as here.
RELEASED_ORDER = "LAGVSERTIDPKQNFYMHWCXBUZOJ"


def prefix_of(cell: Cell) -> tuple[str, ...]:
    """Special tokens that a cell's tokenizer puts before every sequence."""
    names = [*cell.row_prefix, *(["sop"] if cell.start_token else [])]
    return tuple(f"<{name}>" for name in names)


def tokenizer_json(
    objective: str, letters: str = RESIDUES, prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """tokenizer.json: one token per letter, those of `letters` from 1; blanks are dropped, lower
    case is read as upper case.

    That is how FASTA is read; a last `*` is dropped, too. What is no residue letter is `<unk>`;
    characters of code, which only code models know, are among it. A model of masks gets `<eod>` at
    the end of every sequence, as in training; for a causal one the caller adds it, since a prompt
    has none. Each has the special tokens of `prefix` in front, prompts too. `truncation` adds the
    end as well, though training never sees it after a protein that is cut: for those
    `add_special_tokens=False` leaves it out (docs/models.md).
    """
    upper = [
        {"type": "Replace", "pattern": {"String": letter.lower()}, "content": letter}
        for letter in sorted(RESIDUE_ID)
    ]
    blanks, star = (
        {"type": "Replace", "pattern": {"Regex": regex}, "content": ""}
        for regex in (r"\s+", r"\*$")
    )
    sequence = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    begins = [{"SpecialToken": {"id": name, "type_id": 0}} for name in prefix]
    ends = [{"SpecialToken": {"id": END, "type_id": 0}}] if objective == "mlm" else []
    first, second = ([*begins, one, *ends] for one in sequence)
    special = {name: SPECIAL_TOKENS[name] for name in (*prefix, END)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    ids = {letter: number for number, letter in enumerate(letters, start=1)} | SPECIAL_TOKENS
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags, "special": True}
            for token, number in sorted(SPECIAL_TOKENS.items(), key=lambda item: item[1])
        ],
        "normalizer": {"type": "Sequence", "normalizers": [blanks, star, *upper]},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": first,
            "pair": [*first, *second],
            "special_tokens": {
                token: {"id": token, "ids": [number], "tokens": [token]}
                for token, number in special.items()
            },
        },
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": dict(sorted(ids.items(), key=lambda item: item[1])),
            "unk_token": "<unk>",
        },
    }


def tokenizer_config(
    objective: str, context_length: int, start_token: bool = False
) -> dict[str, Any]:
    """tokenizer_config.json. Causal models pad on the left, so that rows can be continued."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left" if objective == "clm" else "right",
        "clean_up_tokenization_spaces": False,
        "pad_token": "<pad>",
        "mask_token": "<mask>",
        "eos_token": END,
        **({"bos_token": START} if start_token else {}),
        "unk_token": "<unk>",
    }
