"""Contacts of ESM-2, with random weights, are those of transformers' own head."""

import numpy as np
import pytest
import torch
from public_models import ESM2_VOCABULARY, esm2_folder
from transformers import EsmForMaskedLM

from plm_scaling.downstream.contacts.attention import attention_features
from plm_scaling.downstream.contacts.regression import ContactRegression
from plm_scaling.inference.models.open import open_model
from plm_scaling.tokens.format.vocabulary import STANDARD


def test_contacts_are_those_of_the_models_own_head(tmp_path):
    esm2_folder(tmp_path / "esm2")
    sequence = "".join(np.random.default_rng(4).choice([*STANDARD], 40))
    torch.manual_seed(0)
    plain = EsmForMaskedLM.from_pretrained(tmp_path / "esm2", attn_implementation="eager").eval()
    head = plain.esm.contact_head.regression
    with torch.no_grad():
        head.weight.normal_(0, 30)
        head.bias.fill_(0.3)
        names = ["<cls>", *sequence, "<eos>"]
        tokens = torch.tensor([[ESM2_VOCABULARY.index(name) for name in names]])
        expected = plain.predict_contacts(tokens, torch.ones_like(tokens))[0]
    with open_model(str(tmp_path / "esm2"), 1) as model:
        weights = head.weight.detach().numpy()[0].reshape(model.layers, model.heads)
        logits = ContactRegression([*weights], 0.3).logits(attention_features(model, sequence))
    assert expected.std() > 0.01
    assert torch.from_numpy(logits).sigmoid().numpy() == pytest.approx(expected.numpy(), abs=1e-4)
