"""What `transformers` makes of exported folders, in a process that cannot import this project.

python hf_reader.py TASK.json OUT.npz: `runs` of the task maps the name of each folder next to it to
its objective, whether it brings its own code, and rows of tokens; `proteins` and `prompts` are
texts. Everything found goes to OUT.npz, as NAME/what.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer


def read(
    folder: Path,
    objective: str,
    code: bool,
    rows: torch.Tensor,
    proteins: list[str],
    prompts: list[str],
) -> dict[str, object]:
    """Everything about one folder."""
    trust = {"trust_remote_code": True} if code else {}
    auto = AutoModelForCausalLM if objective == "clm" else AutoModelForMaskedLM
    model = auto.from_pretrained(folder, **trust)
    tokenizer = AutoTokenizer.from_pretrained(folder, **trust)
    output = model(rows, output_hidden_states=True)
    found: dict[str, object] = {
        "class": type(model).__name__,
        "logits": output.logits,
        "loss": model(rows, labels=rows.where(rows != tokenizer.eos_token_id, -100)).loss,
        "parameters": model.num_parameters(),
    }
    for layer, states in enumerate(output.hidden_states):
        found[f"states/{layer}"] = states
    base = AutoModel.from_pretrained(folder, **trust)
    found["base"] = base(rows).last_hidden_state
    if code:
        explicit = model(rows, output_attentions=True)
        found["explicit"] = explicit.logits
        found["attention sums"] = explicit.attentions[-1].sum(-1)

    for number, protein in enumerate(proteins):
        found[f"ids/{number}"] = tokenizer(protein)["input_ids"]
    found["ids/end"] = tokenizer("MK" + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    found["ids/star"] = tokenizer("MK*\n")["input_ids"]
    cut = {"truncation": True, "max_length": 3}
    found["ids/cut"] = tokenizer("MKVL", add_special_tokens=False, **cut)["input_ids"]
    found["ids/mask"] = tokenizer("M<mask>V", add_special_tokens=False)["input_ids"]
    found["text"] = tokenizer.decode(tokenizer(proteins[0])["input_ids"], skip_special_tokens=True)

    for side in ("left", "right"):
        padded = tokenizer(proteins, return_tensors="pt", padding=True, padding_side=side)
        logits = model(**padded).logits
        for number, protein in enumerate(proteins):
            single = model(**tokenizer(protein, return_tensors="pt")).logits[0]
            inside = padded["attention_mask"][number].bool()
            found[f"padded {side}/{number}"] = logits[number][inside]
            found[f"single/{number}"] = single

    if objective == "clm":
        starts = tokenizer(prompts, return_tensors="pt", padding=True)
        greedy = {"do_sample": False, "max_new_tokens": 9, "eos_token_id": None}
        found["greedy"] = model.generate(**starts, **greedy)
        found["greedy, no cache"] = model.generate(**starts, **greedy, use_cache=False)
        torch.manual_seed(1)
        found["sampled"] = model.generate(**starts, max_new_tokens=40)

    model.save_pretrained(folder.with_name(f"{folder.name} again"))
    again = auto.from_pretrained(folder.with_name(f"{folder.name} again"), **trust)
    found["again"] = again(rows).logits
    return found


if __name__ == "__main__":
    sys.modules["plm_scaling"] = sys.modules["megatron"] = None  # type: ignore[assignment]
    path, out = map(Path, sys.argv[1:])
    task = json.loads(path.read_text())
    texts = (task["proteins"], task["prompts"])
    everything = {}
    with torch.no_grad():
        for name, (objective, code, rows) in task["runs"].items():
            found = read(path.with_name(name), objective, code, torch.tensor(rows), *texts)
            everything |= {f"{name}/{what}": np.asarray(value) for what, value in found.items()}
    np.savez(out, **everything)
