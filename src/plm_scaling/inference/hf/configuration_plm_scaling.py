"""Configuration of protein language models trained with plm-scaling."""

from typing import Any

from transformers import PretrainedConfig


class PlmScalingConfig(PretrainedConfig):
    """Shape, recipe and objective of a model.

    `recipe` is `study` (layers as in xTrimoPGLM: post-LN residual with DeepNorm's scale, LayerNorm,
    GEGLU, biases) or `prenorm` (RMSNorm before each sublayer, SwiGLU, no biases, RMSNorm on queries
    and keys). `objective` is `clm` (each position sees those before it) or `mlm` (all see all).
    Both: rotary positions over whole heads, input and output embeddings tied.
    """

    model_type = "plm_scaling"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012  as in the base class

    def __init__(
        self,
        recipe: str = "study",
        objective: str = "clm",
        vocab_size: int = 128,
        hidden_size: int = 768,
        intermediate_size: int = 2048,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        max_position_embeddings: int = 1024,
        norm_eps: float = 1e-5,
        rope_theta: float = 10000.0,
        initializer_range: float = 0.02,
        **others: Any,
    ) -> None:
        if recipe not in ("study", "prenorm"):
            raise ValueError(f"recipe is {recipe!r}; it must be 'study' or 'prenorm'")
        if objective not in ("clm", "mlm"):
            raise ValueError(f"objective is {objective!r}; it must be 'clm' or 'mlm'")
        self.recipe = recipe
        self.objective = objective
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.norm_eps = norm_eps
        self.rope_theta = rope_theta
        self.initializer_range = initializer_range
        self.use_cache = others.pop("use_cache", objective == "clm")
        super().__init__(**others)
