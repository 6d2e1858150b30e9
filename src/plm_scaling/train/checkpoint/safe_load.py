"""Reading a distributed checkpoint without running code that it may bring.

Its index, `.metadata`, is a pickle, and whatever is no tensor would be unpickled by torch's own
reader. Here the index may hold nothing but the classes that it is made of, and the rest is read
with `weights_only`.
"""

import io
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.strategies.common import COMMON_STATE_FNAME
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


def read_tensors(folder: Path, files: set[str], wanted: list[ShardedTensor]) -> None:
    """Read into the tensors, in place; collective. Of the folder nothing but `files` is opened."""
    reader = _SafeReader(folder, files)
    _check_fit(folder, reader, wanted)
    _load_state_dict(
        torch_tensors(wanted), reader, no_dist=world_size() == 1, planner=_SafePlanner()
    )


def read_common(folder: Path) -> dict[str, Any]:
    """What the first process wrote besides: numbers, strings, lists and dictionaries."""
    path = folder / COMMON_STATE_FNAME
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
        if (module, name) == ("builtins", "getattr"):
            return self._member  # so Python 3.11.0 to 3.11.3 write members of enumerations
        if (module, name) not in METADATA_CLASSES:
            raise TrainError(
                f"{self.path} asks for {module}.{name}, which no checkpoint needs and which may "
                "run code: it is not used; take a checkpoint from a source that you trust"
            )
        return super().find_class(module, name)

    def _member(self, kind: Any, name: str) -> Enum:
        if not (isinstance(kind, type) and issubclass(kind, Enum)):
            raise TrainError(
                f"{self.path} asks for {name} of {kind!r}, which may run code: it is not used; "
                "take a checkpoint from a source that you trust"
            )
        return kind[name]


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
