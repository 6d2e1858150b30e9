"""Folders of public models with random weights, as they are published, and plain forward passes.

The passes follow the published descriptions, one sequence and one head at a time, and share nothing
with the code that they are compared with.
"""

import json

import torch
from safetensors.torch import save_file
from torch.nn.functional import gelu, layer_norm

ESM2_VOCABULARY = [
    "<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>",
    "<mask>",
]  # fmt: skip
PROGEN2_VOCABULARY = {
    token: number
    for number, token in enumerate(
        ["<|pad|>", "<|bos|>", "<|eos|>", "1", "2", *"ABCDEFGHIKLMNOPQRSTUVWXYZ"]
    )
}
GLM_VOCABULARY = [
    "<pad>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<mask>", "<gmask>", "<smask>", "<eod>",
    "<sop>", "<eop>", "<eos>", "<unk>",
]  # fmt: skip


def esm2_folder(folder, seed=1, context=64, **changes):
    """An ESM-2 by transformers' own writer; norms and biases are random, too."""
    from transformers import EsmConfig, EsmForMaskedLM

    values = {
        "vocab_size": 33, "mask_token_id": 32, "pad_token_id": 1, "hidden_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
        "max_position_embeddings": context + 2, "position_embedding_type": "rotary",
        "token_dropout": True, "emb_layer_norm_before": False, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    model = EsmForMaskedLM(EsmConfig(**(values | changes)))
    randomise(model, seed)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(ESM2_VOCABULARY) + "\n")
    return folder


def randomise(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.2)


def drawn(shapes, seed):
    """Weights of these shapes; norms are near 1."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()
    }
    for name, value in weights.items():
        if name.endswith("weight") and value.ndim == 1:
            value.add_(1)
    return weights


def progen2_folder(folder, seed=1, context=64, **changes):
    """A ProGen2 of 2 layers and 8 heads of 4 channels, of which 2 turn; its weights by name."""
    config = {
        "model_type": "progen", "n_layer": 2, "n_head": 8, "embed_dim": 32, "rotary_dim": 2,
        "n_positions": context, "n_inner": None, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "vocab_size_emb": 32, "vocab_size_lm_head": 32,
    } | changes  # fmt: skip
    width = config["embed_dim"]
    shapes = {"transformer.wte.weight": (32, width), "lm_head.weight": (32, width)}
    shapes |= {"lm_head.bias": (32,), "transformer.ln_f.weight": (width,)}
    shapes |= {"transformer.ln_f.bias": (width,)}
    for layer in range(config["n_layer"]):
        of_layer = {
            "ln_1.weight": (width,), "ln_1.bias": (width,),
            "attn.qkv_proj.weight": (3 * width, width), "attn.out_proj.weight": (width, width),
            "mlp.fc_in.weight": (4 * width, width), "mlp.fc_in.bias": (4 * width,),
            "mlp.fc_out.weight": (width, 4 * width), "mlp.fc_out.bias": (width,),
        }  # fmt: skip
        shapes |= {f"transformer.h.{layer}.{name}": shape for name, shape in of_layer.items()}
    weights = drawn(shapes, seed)
    buffers = {"transformer.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool)}
    folder.mkdir(parents=True)
    save_file(weights | buffers, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = {"model": {"type": "BPE", "vocab": PROGEN2_VOCABULARY}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return weights


def progen2_forward(weights, tokens, layers=2, heads=8, rotary=2):
    """Logits [tokens, 32], states by layer (the last after the norm), and maps by layer."""
    x = weights["transformer.wte.weight"][tokens]
    width = x.shape[1]
    channels, local = width // heads, width // 8
    states, maps = [x], []
    place = torch.arange(len(tokens))

    def norm(x, name):
        return layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    def turned(q):
        speeds = 10000.0 ** (-torch.arange(rotary // 2) * 2 / rotary)
        pairs = torch.view_as_complex(q[:, :rotary].reshape(-1, rotary // 2, 2).contiguous())
        turns = torch.polar(torch.ones(1), place[:, None] * speeds)
        return torch.cat((torch.view_as_real(pairs * turns).flatten(1), q[:, rotary:]), 1)

    for layer in range(layers):
        name = f"transformer.h.{layer}"
        normed = norm(x, f"{name}.ln_1")
        qkv = normed @ weights[f"{name}.attn.qkv_proj.weight"].T
        heads_out, heads_maps = [], []
        for head in range(heads):
            part, within = divmod(head * channels, local)  # of eight, each [q, v, k]
            begin = part * 3 * local + within
            q, v, k = (qkv[:, begin + n * local :][:, :channels] for n in range(3))
            scores = turned(q) @ turned(k).T / channels**0.5
            scores[place[:, None] < place] = -torch.inf
            heads_maps.append(scores.softmax(1))
            heads_out.append(heads_maps[-1] @ v)
        attended = torch.cat(heads_out, 1) @ weights[f"{name}.attn.out_proj.weight"].T
        inner = normed @ weights[f"{name}.mlp.fc_in.weight"].T + weights[f"{name}.mlp.fc_in.bias"]
        inner = (
            0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        )
        mlp = inner @ weights[f"{name}.mlp.fc_out.weight"].T + weights[f"{name}.mlp.fc_out.bias"]
        x = x + attended + mlp
        states.append(x)
        maps.append(torch.stack(heads_maps))
    states[-1] = norm(x, "transformer.ln_f")
    return states[-1] @ weights["lm_head.weight"].T + weights["lm_head.bias"], states, maps


def glm_folder(
    folder, causal=True, seed=1, context=64, layers=2, hidden=24, heads=3, ffn=40, **changes
):
    """A released model of the study, its weights by name; `changes` of its config.json."""
    config = {
        "model_type": "ProteinGLM", "num_layers": layers, "hidden_size": hidden,
        "ffn_hidden_size": ffn, "num_attention_heads": heads, "kv_channels": hidden // heads,
        "seq_length": context, "is_causal": causal, "padded_vocab_size": 128, "rmsnorm": False,
        "deepnorm": True, "apply_residual_connection_post_layernorm": True,
        "post_layer_norm": True, "add_bias_linear": True, "multi_query_attention": False,
        "rotary_embedding_2d": False, "quantization_bit": 0, "moe": False,
        "glu_activation": "geglu", "layernorm_epsilon": 1e-5,
        "apply_query_key_layer_scaling": True,
    } | changes  # fmt: skip
    shapes = {"transformer.embedding.word_embeddings.weight": (128, hidden)}
    linears = {
        "self_attention.query_key_value": (3 * hidden, hidden),
        "self_attention.dense": (hidden, hidden),
        "mlp.dense_h_to_4h": (2 * ffn, hidden),
        "mlp.dense_4h_to_h": (hidden, ffn),
    }
    for layer in range(layers):
        name = f"transformer.encoder.layers.{layer}"
        for part, (rows, columns) in linears.items():
            shapes |= {f"{name}.{part}.weight": (rows, columns), f"{name}.{part}.bias": (rows,)}
        for part in ("input_layernorm", "post_attention_layernorm"):
            shapes |= {f"{name}.{part}.{kind}": (hidden,) for kind in ("weight", "bias")}
    name = "transformer.encoder.final_layernorm"
    shapes |= {f"{name}.{kind}": (hidden,) for kind in ("weight", "bias")}
    weights = drawn(shapes, seed)
    folder.mkdir(parents=True)
    table = weights["transformer.embedding.word_embeddings.weight"]
    channels = hidden // heads
    frequencies = 1.0 / 10000 ** (torch.arange(0, channels, 2).float() / channels)
    extra = {"transformer.output_layer.weight": table.clone()} | {
        f"transformer.encoder.layers.{n}.self_attention.rotary_emb.inv_freq": frequencies.clone()
        for n in range(layers)
    }
    save_file(weights | extra, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.model").write_text("\n".join(GLM_VOCABULARY) + "\n")
    return weights


def glm_forward(weights, tokens, causal, layers=2, heads=3):
    """Logits [tokens, 128] of one row of a released model, by its own ids, in its own order."""
    table = weights["transformer.embedding.word_embeddings.weight"]
    x, width, length = table[tokens], table.shape[1], len(tokens)
    channels, alpha = width // heads, (2 * layers) ** 0.5
    half = channels // 2
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(half) / half)
    cos, sin = angles.cos(), angles.sin()

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        return layer_norm(x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-5)

    def turned(q):
        first, second = q[:, :half], q[:, half:]
        return torch.cat((first * cos - second * sin, second * cos + first * sin), 1)

    for layer in range(layers):
        name = f"transformer.encoder.layers.{layer}"
        normed = norm(x, f"{name}.input_layernorm")
        qkv = linear(normed, f"{name}.self_attention.query_key_value")
        found = []
        for head in range(heads):
            q, k, v = qkv[:, head * 3 * channels :][:, : 3 * channels].split(channels, 1)
            scores = turned(q) @ turned(k).T / channels**0.5
            if causal:
                scores = scores + torch.full((length, length), -torch.inf).triu(1)
            found.append(scores.softmax(1) @ v)
        attended = linear(torch.cat(found, 1), f"{name}.self_attention.dense")
        normed = norm(alpha * normed + attended, f"{name}.post_attention_layernorm")
        first, second = linear(normed, f"{name}.mlp.dense_h_to_4h").chunk(2, 1)
        x = alpha * normed + linear(first * gelu(second), f"{name}.mlp.dense_4h_to_h")
    return norm(x, "transformer.encoder.final_layernorm") @ table.T
