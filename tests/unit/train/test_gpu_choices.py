"""What is chosen for a GPU by facts that need none."""

import importlib.util

import pytest

from plm_scaling.train.model import modules
from plm_scaling.train.model.attention import flash_takes
from plm_scaling.train.output import record


def test_flash_kernels_take_multiples_of_8_up_to_256_and_it_is_said_once(caplog):
    flash_takes.cache_clear()
    assert [n for n in (6, 8, 64, 66, 136, 256, 264) if flash_takes(n)] == [8, 64, 136, 256]
    assert not flash_takes(66)
    assert caplog.text.count("heads of 66 channels") == 1


@pytest.mark.parametrize(
    ("backend", "precision", "channels", "expected"),
    [
        ("cuda", "bf16", 64, "transformer_engine"),
        ("cuda", "fp32", 64, "local"),
        ("cuda", "bf16", 66, "local"),
        ("cpu", "bf16", 64, "local"),
    ],
)
def test_transformer_engine_is_taken_where_its_packed_attention_works(
    monkeypatch, backend, precision, channels, expected
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert modules.implementation(backend, precision, channels) == expected


def test_the_record_of_a_gpu_cell_names_the_driver(monkeypatch):
    monkeypatch.setattr(record, "query", lambda name: ["580.65.06"] * 8)
    assert record.versions("cuda")["driver"] == "580.65.06"
    assert "driver" not in record.versions("cpu")
