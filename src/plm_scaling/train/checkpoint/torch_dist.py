"""One checkpoint's tensors in megatron-core's distributed format, `torch_dist`.

The files are those of `megatron.core.dist_checkpointing.save`, and its `load` reads them. Its own
writer needs CUDA, starts a manager and a process per file, and leaves the other processes waiting
when one fails; here `torch.distributed.checkpoint`, whose format it is, writes on every backend.
"""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.core import CONFIG_FNAME, CheckpointingConfig
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, is_main_replica
from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
from megatron.core.dist_checkpointing.strategies.common import COMMON_STATE_FNAME
from megatron.core.dist_checkpointing.strategies.torch import MCoreSavePlanner
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_saver import _save_state_dict

from plm_scaling.common.errors import PlmScalingError, TrainError
from plm_scaling.train.checkpoint.digests import DigestingWriter, FileDigest, write_synced
from plm_scaling.train.checkpoint.safe_load import read_common, read_tensors
from plm_scaling.train.checkpoint.sharded import torch_tensors
from plm_scaling.train.distributed.collective import GROUP, everywhere, on_first, world_size


def write_state(folder: Path, state: dict[str, Any]) -> dict[str, FileDigest]:
    """Write the sharded tensors of all processes into `folder`, which exists and is empty.

    Collective. What is no sharded tensor (numbers, strings, lists of them) is written by the first
    process. `state` is used up. Returns the digest of every file, taken from what was handed to
    the disk, not read back. Every file is forced to disk; the folder is not. Raises `OSError` in
    all processes when one cannot write.
    """
    alone = world_size() == 1  # nobody to agree with: half of the time
    sharded, common = save_preprocess(state, validate_access_integrity=False)  # the planner does
    files = on_first(lambda: _write_common(folder, common))
    own = [part for part in nested_values(sharded) if is_main_replica(part.replica_id)]
    writer = DigestingWriter(folder)
    try:
        _save_state_dict(
            torch_tensors(own),
            writer,
            process_group=GROUP.get(),
            no_dist=alone,
            planner=MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
        )
    except CheckpointException as error:
        raise _cause(error) from error
    for written in everywhere(lambda: writer.fs.digests):
        files.update(written)
    return files


def read_state(folder: Path, state: dict[str, Any], files: set[str]) -> dict[str, Any]:
    """Read into the sharded tensors of `state`, in place, whatever layout wrote the checkpoint.

    Collective. Returns what the first process wrote besides. `files` are the folder's checked ones:
    nothing else is opened. Raises `TrainError` in all processes when a tensor is missing, left over
    (an optimizer's may be) or of another shape.
    """
    common = on_first(lambda: read_common(folder))
    wanted = [part for part in nested_values(state) if isinstance(part, ShardedTensor)]
    try:
        read_tensors(folder, files, wanted)
    except CheckpointException as error:
        raise _cause(error) from error
    return common


def _write_common(folder: Path, common: dict[str, Any]) -> dict[str, FileDigest]:
    """What megatron-core's `load` expects besides the tensors."""
    buffer = io.BytesIO()
    torch.save(common, buffer)
    config = json.dumps(dataclasses.asdict(CheckpointingConfig("torch_dist", 1)))
    return {
        COMMON_STATE_FNAME: write_synced(folder / COMMON_STATE_FNAME, buffer.getvalue()),
        CONFIG_FNAME: write_synced(folder / CONFIG_FNAME, config.encode()),
    }


def _cause(error: CheckpointException) -> Exception:
    """What happened in the first process that failed; all processes are told the same."""
    rank = min(error.failures)
    cause = error.failures[rank][0]
    if isinstance(cause, OSError | PlmScalingError):
        return cause
    return TrainError(f"process {rank} failed: {type(cause).__name__}: {cause}")
