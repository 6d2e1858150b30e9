"""The files of a public model: configuration and weights, of a folder as transformers writes it.

Weights are read from safetensors alone: a pickle runs code when it is loaded. Nor is code that a
folder brings along ever run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from plm_scaling.common.errors import InferenceError

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises `InferenceError` if there is none, or it is no JSON object."""
    path = folder / "config.json"
    try:
        return read_object(path)
    except FileNotFoundError:
        raise InferenceError(
            f"{folder} has neither result.json, as a run, nor config.json, as a model of "
            "transformers; give another folder, or the whole of this one"
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `InferenceError` if the file is none."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InferenceError(f"{path} is not JSON ({error}); download it again") from error
    if not isinstance(found, dict):
        raise InferenceError(f"{path} is not a JSON object; download it again")
    return found


def config_values(folder: Path, config: dict[str, Any], *names: str | tuple[str, ...]) -> list[int]:
    """Whole numbers of the configuration; a tuple has the names that one goes by. Raises
    `InferenceError` for one that is missing or no such number."""
    found = []
    for known in names:
        known = (known,) if isinstance(known, str) else known
        values = [config[name] for name in known if config.get(name) is not None]
        if not values or not isinstance(values[0], int) or values[0] < 1:
            told = f"is {values[0]!r}, not a whole number above 0" if values else "is missing"
            raise InferenceError(
                f"{folder / 'config.json'}: key {' or '.join(known)} {told}; this is another "
                "kind of model, or not all of it: download it again"
            )
        found.append(values[0])
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, all that its index names. Raises `InferenceError`."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if any(path.suffix in PICKLES for path in folder.iterdir()):
            raise InferenceError(
                f"{folder} has its weights in pickles, which can run code as they are loaded, and "
                f"none in safetensors; convert them: {converting(folder)}"
            )
        raise InferenceError(
            f"{folder} has config.json but no weights (*.safetensors); download them as well"
        )
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weights = read_object(index).get("weight_map")
        if not isinstance(weights, dict):
            raise InferenceError(f"{index} has no key weight_map; download it again")
        named = {folder / name for name in weights.values()}
        if missing := sorted(path.name for path in named - {*files}):
            raise InferenceError(
                f"{index} names files that are not there: {', '.join(missing)}; download them"
            )
    return files


def converting(folder: Path) -> str:
    """The command that writes a folder's pickles as safetensors, without running code of theirs."""
    return (
        f"""python -c 'import glob, torch; from safetensors.torch import save_file; w = {{}}; """
        f"""[w.update(torch.load(p, map_location="cpu", weights_only=True)) for p in """
        f"""glob.glob("{folder}/*.bin")]; """
        f"""save_file({{k: v.clone().contiguous() for k, v in w.items()}}, """
        f""""{folder}/model.safetensors", {{"format": "pt"}})'"""
    )


def check_weights(folder: Path) -> None:
    """Raises `InferenceError` if there are no weights, or a file has another length than it says;
    no tensor is read."""
    for path in weight_files(folder):
        path.open(
            "rb"
        ).close()  # safetensors says of a file that may not be read that there is none
        try:
            with safe_open(path, "numpy"):
                pass
        except SafetensorError as error:
            raise _damaged(path, error) from error


def read_weights(folder: Path, ending: str = "") -> dict[str, Tensor]:
    """Tensors by name, all whose name ends so. Raises `InferenceError` if a file is damaged."""
    tensors = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if name.endswith(ending)]  # noqa: SIM118
                tensors.update({name: file.get_tensor(name) for name in names})
        except SafetensorError as error:
            raise _damaged(path, error) from error
    return tensors


def _damaged(path: Path, error: SafetensorError) -> InferenceError:
    return InferenceError(f"{path} is damaged ({error}); download it again")


def check_names(folder: Path, found: Iterable[str], wanted: Iterable[str]) -> None:
    """Raises `InferenceError` if weights are missing, or there are some that have no place."""
    for problem, names in (
        ("lack", {*wanted} - {*found}),
        ("have, besides those of the model,", {*found} - {*wanted}),
    ):
        if names:
            first = ", ".join(sorted(names)[:3])
            raise InferenceError(
                f"the weights in {folder} {problem} {first} ({len(names)} in all): config.json is "
                "of another model, or files are missing; download the whole folder again"
            )


def check_ids(path: Path, found: dict[str, int], known: dict[str, int]) -> None:
    """Raises `InferenceError` if the vocabulary in a folder has other ids than the kind's."""
    if other := sorted(token for token in known if found.get(token) != known[token]):
        token = other[0]
        raise InferenceError(
            f"{path}: {token} has id {found.get(token)}, {known[token]} in the models that are "
            f"known ({len(other)} differ): this is another kind of model"
        )
