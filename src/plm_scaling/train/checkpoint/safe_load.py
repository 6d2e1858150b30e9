"""Reading a distributed checkpoint without running code that it may bring.

Its index, `.metadata`, is a pickle, and whatever is no tensor would be unpickled by torch's own
reader. Here the index may hold nothing but the classes that it is made of, and the rest is read
with `weights_only`.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.dict_utils import dict_list_map_outplace, nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.strategies.common import (
    COMMON_STATE_FNAME,
    TorchCommonLoadStrategy,
)
from megatron.core.dist_checkpointing.strategies.torch import TorchDistLoadShardedStrategy
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, Metadata
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from plm_scaling.common.errors import TrainError
from plm_scaling.train.checkpoint.sharded import torch_tensors
from plm_scaling.train.distributed.collective import everywhere, world_size

METADATA = ".metadata"
EXTRA_STATE = "_extra_state"  # of Transformer Engine's fp8 layers: empty, and no weights
METADATA_CLASSES = {
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    *(("torch", name) for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
}


class SafeLoadSharded(TorchDistLoadShardedStrategy):
    """megatron-core's strategy, with a reader and a planner that run no code of the checkpoint."""

    def __init__(self, files: set[str]) -> None:
        super().__init__()
        self.files = files

    def load(self, sharded_state_dict: dict[str, Any], checkpoint_dir: str) -> dict[str, Any]:
        """Read into the sharded tensors. Returns the same structure with plain tensors."""
        reader = _SafeReader(checkpoint_dir, self.files)
        wanted: list[ShardedTensor] = list(nested_values(sharded_state_dict))
        _check_fit(Path(checkpoint_dir), reader, wanted)
        tensors = torch_tensors(wanted)
        _load_state_dict(tensors, reader, no_dist=world_size() == 1, planner=_SafePlanner())
        plain: dict[str, Any] = dict_list_map_outplace(lambda part: part.data, sharded_state_dict)
        return plain


class SafeLoadCommon(TorchCommonLoadStrategy):
    """What the first process wrote besides tensors: numbers, strings, lists and dictionaries."""

    def load_common(self, checkpoint_dir: str | Path) -> dict[str, Any]:
        """Read common.pt."""
        path = Path(checkpoint_dir) / COMMON_STATE_FNAME
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise TrainError(
                f"{path} holds more than numbers and strings and is not read: {error}"
            ) from error
        return state


class _SafeReader(FileSystemReader):
    """torch's reader, but for the index; it opens none but `files`."""

    def __init__(self, folder: str | Path, files: set[str]) -> None:
        super().__init__(folder)
        self.files = files
        self._metadata: Metadata | None = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Unpickle the index, without anything foreign to it."""
        if self._metadata is None:
            path = Path(self.path) / METADATA
            with path.open("rb") as file:
                metadata = _MetadataUnpickler(file, path).load()
            foreign = {info.relative_path for info in metadata.storage_data.values()} - self.files
            if foreign:
                raise TrainError(
                    f"{path} points to {sorted(foreign)[0]}, which is none of the checkpoint's "
                    "files: it is not used"
                )
            self._metadata = metadata
        return self._metadata


class _MetadataUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in METADATA_CLASSES:
            raise TrainError(
                f"{self.path} asks for {module}.{name}, which no checkpoint needs and which may "
                "run code: it is not used; take a checkpoint from a source that you trust"
            )
        return super().find_class(module, name)


class _SafePlanner(DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Where torch's own planner unpickles whatever is there."""
        raise TrainError(f"{read_item.dest_index.fqn} is no tensor: this checkpoint is not used")


def _check_fit(folder: Path, reader: _SafeReader, wanted: list[ShardedTensor]) -> None:
    """What all processes together want is there in its shape, and no weights are left over."""

    def missing_or_different() -> set[str]:
        stored = reader.read_metadata().state_dict_metadata
        for tensor in wanted:
            if tensor.key not in stored:
                raise TrainError(
                    f"{folder} has no tensor {tensor.key}, which this model has: it is of a model "
                    "of another kind"
                )
            found = tuple(getattr(stored[tensor.key], "size", ()))
            if found != tuple(tensor.global_shape):
                raise TrainError(
                    f"{folder}: {tensor.key} is of shape {list(found)}, this model's of "
                    f"{list(tensor.global_shape)}: take a checkpoint of a model of the same shape"
                )
        return {tensor.key for tensor in wanted}

    taken = set().union(*everywhere(missing_or_different))
    for key in sorted(set(reader.read_metadata().state_dict_metadata) - taken):
        if not key.startswith("optimizer.") and EXTRA_STATE not in key:
            raise TrainError(
                f"{folder} has a tensor {key}, which this model has not: it is of a model of "
                "another kind"
            )
