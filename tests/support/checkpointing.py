"""Small models, optimizers and checkpoints for tests of checkpoints."""

import json
from pathlib import Path
from typing import Any

import torch
from cell_fixtures import cell_of, record_of
from megatron.core.dist_checkpointing import ShardedTensor

from plm_scaling.common.files import sha256_of, write_json
from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import Shape
from plm_scaling.train.checkpoint.digests import FileDigest
from plm_scaling.train.checkpoint.record import RECORD, Record
from plm_scaling.train.checkpoint.sharded import set_adamw_steps, sharded_state
from plm_scaling.train.checkpoint.store import load_checkpoint, save_checkpoint
from plm_scaling.train.model.builder import build_model

SHAPE = Shape(layers=3, hidden=16, ffn=42, heads=2)
IDENTITY = {"cell": "0123456789", "data_sha256": "1", "stage_version": "2"}


class Training:
    """A model and its AdamW after one step with random gradients, or before any."""

    def __init__(self, cell: Cell | None = None, seed: int = 1, stepped: bool = True) -> None:
        torch.manual_seed(seed)
        self.model = build_model(cell or cell_of("clm", SHAPE))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)
        if stepped:
            for parameter in self.model.parameters():
                parameter.grad = torch.randn_like(parameter)
            self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """As the engine gives it."""
        return sharded_state(self.model, self.optimizer)

    def load(self, state: dict[str, Any]) -> None:
        """Take over what was read."""
        set_adamw_steps(self.optimizer, state["optimizer"]["step"])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copies of weights and moments by name."""
        found = {}
        for name, parameter in self.model.named_parameters():
            found[name] = parameter.detach().clone()
            for key, value in self.optimizer.state[parameter].items():
                found[f"{key} {name}"] = value.detach().clone()
        return found


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """To the last bit."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def filled(
    value: float, megabytes: float = 0.2, replica: int = 0, names: str = "abcd"
) -> dict[str, Any]:
    """A state without a model: tensors that hold one value; one replica of them is written."""
    size = int(megabytes * 1e6 / 4 / len(names))
    tensors = {
        name: ShardedTensor.from_rank_offsets(
            name, torch.full((size,), float(value)), replica_id=replica
        )
        for name in names
    }
    return {"step": int(value), **tensors}


def load_filled(
    folder: Path, identity: dict[str, str] = IDENTITY, megabytes: float = 0.2
) -> tuple[int, dict[str, Any]]:
    """Step and position of the newest checkpoint, which must be `filled(step)`; 0 if none is."""
    state = filled(0, megabytes)
    found = load_checkpoint(folder, identity, lambda: state)
    if found is None:
        return 0, {}
    step, position, rest = found
    assert rest == {"step": step}
    assert all(bool((state[name].data == step).all()) for name in "abcd")
    return step, position


def sign(path: Path) -> None:
    """Make checkpoint.json fit the files as they are, as someone who altered them would."""
    content = json.loads((path / RECORD).read_text())
    files = {
        name: FileDigest((path / name).stat().st_size, sha256_of(path / name))
        for name in content["files"]
    }
    record = Record(content["step"], content["identity"], content["position"], files)
    (path / RECORD).write_text(record.to_json())


def finished_run(folder: Path, cell: Cell, seed: int = 1, status: str = "finished") -> Training:
    """What training leaves; needs a process of one."""
    training = Training(cell, seed)
    identity = {**IDENTITY, "cell": cell.cell}
    save_checkpoint(folder / "checkpoints", cell.steps, identity, {}, training.state())
    reason = "" if status == "finished" else "loss 9 at step 7"
    write_json(folder / "result.json", record_of(cell, status=status, reason=reason).to_json())
    return training
