"""README.md of an exported model: what it is, what it was trained on, and how to load it."""

import math

from plm_scaling.common.progress import short_number
from plm_scaling.study.cell import Cell, ImportedCell
from plm_scaling.study.record import RunRecord

_OBJECTIVES = {"clm": "next token (causal)", "mlm": "masked tokens"}
_RECIPES = {
    "study": "post-LN residual with DeepNorm's scale, LayerNorm, GEGLU, biases",
    "prenorm": "RMSNorm before each sublayer and on queries and keys, SwiGLU, no biases",
}

_CARD = """\
---
library_name: transformers
pipeline_tag: {task}
tags: [biology, protein-language-model]
---

# {size} protein language model ({objective})

{origin}; exported in fp32. {licence}

|  |  |
|---|---|
{facts}
## Losses

Nats per token on held-out sequences at the end of training.

| held out | loss | perplexity |
|---|---|---|
{losses}
## Use

```python
import torch
from transformers import AutoModelFor{head}, AutoTokenizer

model = AutoModelFor{head}.from_pretrained("FOLDER"{trust})
tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})

{example}```

- One token per residue. Blanks are dropped, lower case is read as upper case, and what is no \
letter of a residue (`ACDEFGHIKLMNPQRSTVWY`, `BJOUXZ`) is `<unk>`.
{notes}"""

_CAUSAL = """\
sequence = "MKVLAAGIVPLL"
tokens = tokenizer(sequence, return_tensors="pt")
with torch.no_grad():
    loss = model(**tokens, labels=tokens["input_ids"]).loss  # nats per residue
    made = model.generate(**tokenizer("MKV", return_tensors="pt"))
print(loss.exp(), tokenizer.batch_decode(made, skip_special_tokens=True))
"""
_TRAINED = "Trained with plm-scaling"
_LICENCE = "No licence is given here: whoever publishes this model names one that its data allow."
_IMPORTED = "{reason}: what only its training knew is missing"
_LICENCE_OF_SOURCE = "Its licence is that of the imported weights."

_CAUSAL_NOTE = """\
- In training every sequence ended in `<eod>`; append `tokenizer.eos_token` to score the end, not \
to a prompt. {begin} `generate` samples and is kept to residues and `<eod>` \
(`generation_config.json`).
"""

_IMPORT = dict.fromkeys(("corpus", "tokens", "FLOPs (6·N·D)", "trained with"), "missing")
_ROW_PREFIX = (
    "The tokenizer puts `{prefix}` before every sequence, so that the first residue has a "
    'probability; to generate without a prompt, start from `tokenizer("")`.'
)
_BEGIN = {
    False: "There is no token for the beginning: a prompt has at least one residue, and the first "
    "residue has no probability.",
    True: "The tokenizer puts `<sop>` before every sequence, as in training, so that the first "
    "residue has a probability; `generate` without a prompt begins there. A piece from inside a "
    "protein has none (`add_special_tokens=False`).",
}

_MASKED = """\
tokens = tokenizer("MKV<mask>AAGIVPLL", return_tensors="pt")
with torch.no_grad():
    output = model(**tokens, output_hidden_states=True)
at_mask = output.logits[tokens["input_ids"] == tokenizer.mask_token_id]
print(tokenizer.decode(at_mask.argmax(-1)))
embedding = output.hidden_states[-1][0, {first}:-1].mean(0)  # residues only
"""
_MASKED_NOTE = "- The tokenizer ends every sequence in `<eod>`{begun}, as in training.\n"

_OWN_CODE_NOTE = """\
- `trust_remote_code=True` runs `modeling_plm_scaling.py` of this folder: no class of transformers \
is this model.
"""


def model_card(cell: Cell, record: RunRecord, weights_sha256: str) -> str:
    """The text, from the cell and its record (result.json)."""
    causal = cell.objective == "clm"
    imported = isinstance(cell, ImportedCell)
    start = cell.start_token
    own_code = not (causal and cell.recipe == "prenorm")
    facts = {
        "cell": f"`{cell.cell}`",
        "objective": _OBJECTIVES[cell.objective],
        "recipe": f"`{cell.recipe}`: {_RECIPES[cell.recipe]}",
        "shape": f"{cell.layers} layers of width {cell.hidden}, MLP {cell.ffn}, {cell.heads} heads",
        "parameters": f"{cell.n_params:,} without embeddings, {cell.n_params_total:,} in all",
        "context": f"{cell.context_length} tokens",
        **(_IMPORT if imported else _training(cell, record)),
        "weights (SHA-256)": f"`{weights_sha256}`",
    }
    origin, licence = _TRAINED, _LICENCE
    if imported:
        reason = record.reason[:1].upper() + record.reason[1:]
        origin, licence = _IMPORTED.format(reason=reason), _LICENCE_OF_SOURCE
    begin, begun = _BEGIN[start], " and begins it with `<sop>`" if start else ""
    if cell.row_prefix:
        begin = _ROW_PREFIX.format(prefix="".join(f"<{name}>" for name in cell.row_prefix))
    return _CARD.format(
        origin=origin,
        licence=licence,
        task="text-generation" if causal else "fill-mask",
        size=short_number(cell.n_params),
        objective=cell.objective.upper(),
        facts="".join(f"| {name} | {fact} |\n" for name, fact in facts.items()),
        losses="".join(
            f"| {name} | {_said(loss, '{:.4f}')} | {_said(loss and math.exp(loss), '{:.3f}')} |\n"
            for name, loss in (record.held_out_losses or {"valid": record.loss}).items()
        ),
        head="CausalLM" if causal else "MaskedLM",
        trust=", trust_remote_code=True" if own_code else "",
        example=_CAUSAL if causal else _MASKED.format(first="1" if start else ""),
        notes=(_CAUSAL_NOTE if causal else _MASKED_NOTE).format(begin=begin, begun=begun)
        + (_OWN_CODE_NOTE if own_code else ""),
    )


def _training(cell: Cell, record: RunRecord) -> dict[str, str]:
    """What a cell was trained on, and how."""
    masking = {}
    if cell.objective == "mlm":
        share = f"{100 * (cell.mask_ratio or 0):g} % of the residues"
        masking = {"masked": f"{share}, masking `{cell.masking}`"}
    mixture = ", ".join(f"{100 * share:g} % {source}" for source, share in cell.mixture.items())
    started = {} if cell.init_from is None else {"started from": f"cell `{cell.init_from}`"}
    return {
        **masking,
        "corpus": f"`{cell.corpus}`: {mixture}",
        "data (SHA-256 of the shards read)": f"`{record.data_sha256 or 'missing'}`",
        "tokens": f"{record.tokens:,}, of which different {record.unique_tokens:,}",
        "FLOPs (6·N·D)": f"{record.flops:.3g}",
        "FLOPs with attention and output layer": _said(record.flops_exact, "{:.3g}"),
        **started,
        **_mup(cell),
        "trained with": ", ".join(f"{name} {v}" for name, v in record.versions.items()),
    }


def _mup(cell: Cell) -> dict[str, str]:
    if cell.mup_base_width is None:
        return {}
    base = f"width {cell.mup_base_width}, heads of {cell.mup_base_channels} channels"
    return {"muP": f"base {base}; its factors are in the weights of the norms"}


def _said(value: float | None, form: str) -> str:
    return "missing" if value is None else form.format(value)
