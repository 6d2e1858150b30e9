"""An exported model fine-tuned with transformers' own Trainer."""

from unittest.mock import Mock

import pytest
import torch
from finished_runs import finished_run

from plm_scaling.inference.export import export_cell
from plm_scaling.tokens.format.vocabulary import EOD

pytestmark = pytest.mark.slow  # transformers takes seconds to import
ROWS = 8


def batch(objective):
    """Rows whose numbers of predicted tokens differ, as those of proteins do."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(1, 21, (ROWS, 40), generator=generator)
    tokens[:, -1] = EOD
    labels = tokens.clone()
    for row in range(ROWS):
        labels[row, 6 + 4 * row :] = -100
    if objective == "mlm":
        labels[:, 1::2] = -100
    return tokens, labels


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path, objective):
    from transformers import Trainer, TrainingArguments

    from plm_scaling.inference.hf import modeling_plm_scaling as exported

    finished_run(tmp_path / "run", objective)
    export_cell(str(tmp_path / "run"), tmp_path / "export", threads=1)
    kind = getattr(exported, f"PlmScalingFor{'CausalLM' if objective == 'clm' else 'MaskedLM'}")
    tokens, labels = batch(objective)
    rows = [{"input_ids": t, "labels": n} for t, n in zip(tokens, labels, strict=True)]
    model = kind.from_pretrained(tmp_path / "export")
    loss = model(tokens, labels=labels).loss
    loss.backward()
    rate = 0.01
    expected = {n: p.detach() - rate * p.grad for n, p in model.named_parameters()}
    for at_once in (ROWS, 2, 1):
        arguments = TrainingArguments(
            str(tmp_path / "out"), per_device_train_batch_size=at_once,
            gradient_accumulation_steps=ROWS // at_once, max_steps=1, optim="sgd",
            learning_rate=rate, lr_scheduler_type="constant", max_grad_norm=0, use_cpu=True,
            save_strategy="no", report_to=[],
        )  # fmt: skip
        tuned = kind.from_pretrained(tmp_path / "export")
        done = Trainer(tuned, arguments, train_dataset=rows).train()
        assert done.training_loss == pytest.approx(loss.item(), abs=1e-5)
        for name, weights in tuned.named_parameters():
            torch.testing.assert_close(weights.detach(), expected[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_gradients_are_the_same_with_checkpointing(tmp_path, objective):
    from plm_scaling.inference.hf import modeling_plm_scaling as exported

    finished_run(tmp_path / "run", objective)
    export_cell(str(tmp_path / "run"), tmp_path / "export", threads=1)
    kind = getattr(exported, f"PlmScalingFor{'CausalLM' if objective == 'clm' else 'MaskedLM'}")
    tokens, labels = batch(objective)
    gradients = []
    for checkpointing in (False, True):
        model = kind.from_pretrained(tmp_path / "export").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.model.layers[0].mlp.forward = counted = Mock(
                wraps=model.model.layers[0].mlp.forward
            )
        model(tokens, labels=labels).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert counted.call_count == 2  # forward, and again in the backward pass
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
    assert model.get_output_embeddings() is model.get_input_embeddings()
