"""What a command that loads PyTorch refuses without it, before seconds of imports."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from finished_runs import CONTEXT, finished_run
from public_models import glm_folder, progen2_folder

from plm_scaling.common.files import write_json
from plm_scaling.downstream.table import INDELS

PROGRAM = """
import contextlib, io, json, sys
from plm_scaling.cli.main import main

for line in sys.stdin:
    sys.argv, said, end = ["plm-scaling", *json.loads(line)], io.StringIO(), 0
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as error:
            end = error.code
    heavy = [name for name in ("torch", "megatron", "transformers") if name in sys.modules]
    print(json.dumps([str(end), said.getvalue(), heavy]), flush=True)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Runs, public models, FASTA files and benchmarks, right and wrong ones."""
    here = tmp_path_factory.mktemp("early")
    finished_run(here / "clm", "clm")
    finished_run(here / "mlm", "mlm")
    finished_run(here / "start", "clm", start_token=True)
    shutil.copytree(here / "clm", here / "unfinished")
    (here / "unfinished/result.json").unlink()
    shutil.copytree(here / "clm", here / "lost")
    shutil.rmtree(here / "lost/checkpoints")
    for name in ("cut", "pickled"):
        progen2_folder(here / name)
    weights = here / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    (here / "pickled/model.safetensors").rename(here / "pickled/pytorch_model.bin")
    glm_folder(here / "glm")
    progen2_folder(here / "whole")
    (here / "ok.fasta").write_text(">a\nMKVLAGIV\n>b\nACDEFGHIKLMNPQRSTVWY\n")
    (here / "bad.fasta").write_text(">a\nMK1V\n>b\nMKV\n")
    (here / "empty.fasta").touch()
    (here / "genes.fasta").write_text(">a\n" + "ACGTTGCA" * 200 + "\n")
    (here / "there").mkdir()
    for name, content in {
        "words": "x",
        "no_task": "{}",
        "other": '{"task": "other", "metric": "x"}',
        "lacking": '{"task": "regression", "metric": "spearman"}',
    }.items():
        (here / name).mkdir()
        (here / name / "task.json").write_text(content)
    shutil.copytree(here / "lacking", here / "half")
    (here / "half/items.parquet").write_bytes(b"PAR1")
    progen2_folder(here / "odd")
    (here / "odd/tokenizer.json").write_text("[")
    progen2_folder(here / "index")
    (here / "index/model.safetensors.index.json").write_text("{}")
    (here / "indels").mkdir()
    write_json(here / "indels/task.json", {"task": "fitness", "form": INDELS, "metric": "spearman"})
    for name in ("items", "proteins"):
        pd.DataFrame({"a": [1]}).to_parquet(here / "indels" / f"{name}.parquet")
    return here


def cases():
    """Words of a command, and what it says."""
    out = ("--out", "out.tsv")
    for name in ("score", "embed"):
        yield (name, "nothing", "ok.fasta", *out), "nothing: neither a folder nor the id of a cell"
        yield (name, "unfinished", "ok.fasta", *out), "not trained to its end"
        yield (name, "lost", "ok.fasta", *out), "is missing; train the cell again"
        yield (name, "cut", "ok.fasta", *out), "model.safetensors is damaged"
        yield (name, "pickled", "ok.fasta", *out), "which can run code"
        yield (name, "odd", "ok.fasta", *out), "tokenizer.json is not JSON"
        yield (name, "index", "ok.fasta", *out), "has no key weight_map"
        yield (name, "glm", "ok.fasta", *out), "plm-scaling import glm"
        yield (name, "clm", "none.fasta", *out), "none.fasta does not exist"
        yield (name, "clm", "empty.fasta", *out), "empty.fasta is empty"
        yield (name, "clm", "bad.fasta", *out), "1 of 2 records cannot be used"
        yield (name, "clm", "genes.fasta", *out), "nucleotides"
        yield (name, "clm", "ok.fasta", "--out", "out.xls"), "must end in"
        yield (name, "clm", "ok.fasta", "--out", "there"), "must end in"
    yield ("score", "clm", "ok.fasta", "--threads", "0", *out), "Must be >= 1"
    yield ("evaluate", "clm", "any", "--seed", "-1", *out), "Must be >= 0"
    yield ("score", "clm", "ok.fasta", "--fast", *out), "--fast is for masked models"
    yield ("embed", "clm", "ok.fasta", "--layer", "9", *out), "the model has 2 layers"
    new = ("--out", "new.fasta")
    yield ("generate", "mlm", "--prompt", "M", *new), "is an MLM"
    yield ("generate", "clm", *new), "trained without start token"
    yield ("generate", "clm", "--prompt", "m1", *new), "1, m is no residue"
    yield ("generate", "start", "--max-length", str(2 * CONTEXT), *new), "--max-length is 128"
    yield ("generate", "start", "--first", "ok.fasta", *new), "leave it out"
    yield ("generate", "clm", "--first", "none.fasta", *new), "none.fasta does not exist"
    yield ("generate", "clm", "--prompt", "M", "--top-p", "0", *new), "--top-p is 0"
    yield ("generate", "clm", "--prompt", "M", "--out", "there"), "it is a folder"
    yield ("generate", "clm", "--prompt", "M", "--out", "/dev/null"), "no file that can be replaced"
    yield ("generate", "clm", "--prompt", "M", "--out", "ok.fasta/new"), "ok.fasta is a file"
    yield ("export", "clm", "--to", "hf", "--out", "there"), "it exists"
    yield ("export", "nothing", "--to", "hf", "--out", "new"), "neither a folder nor"
    yield ("export", "whole", "--to", "hf", "--out", "new"), "is no run but a public model"
    yield ("export", "lost", "--to", "hf", "--out", "new"), "is missing; train the cell again"
    imported = ("--from", "proteinglm", "--out")
    yield ("import", "glm", *imported, "there"), "it exists"
    yield ("import", "nothing", *imported, "new"), "nothing is no folder"
    yield ("import", "clm", *imported, "new"), "nor config.json"
    yield ("import", "glm", *imported, "new", "--prefix", "<bos>"), "--prefix <bos>"
    yield ("evaluate", "clm", "nothing", *out), "has no dataset 'nothing'"
    yield ("evaluate", "nothing", "fitness_demo", *out), "neither a folder nor"
    yield ("evaluate", "clm", "any", "--data", "there", *out), "there is no prepared dataset"
    for name, said in {
        "words": "task.json is damaged",
        "no_task": "damaged (KeyError: 'metric')",
        "other": "of task 'other'",
        "lacking": "items.parquet is missing",
        "half": "half/items.parquet is damaged",
    }.items():
        yield ("evaluate", "clm", "any", "--data", name, *out), said
    yield ("evaluate", "clm", "any", "--data", "there", "--out", "out.xls"), "must end in"
    yield ("evaluate", "mlm", "any", "--data", "indels", *out), "insertions and deletions"
    judged = ("judge", "ok.fasta", "--against", "ok.fasta", *out)
    yield (*judged, "--seed", str(1 << 64)), "Must be < 18446744073709551616"
    yield (*judged, "--model", "nothing"), "neither a folder nor"
    yield (*judged, "--esmfold", "nothing"), "nothing is no folder"
    yield (*judged, "--esmfold", "cut"), "no ESMFold"
    yield (*judged, "--ngram", "nothing.npz"), "nothing.npz does not exist"


def test_what_needs_no_pytorch_is_refused_before_it_is_imported(here):
    asked = [*cases()]
    lines = "".join(json.dumps([*words]) + "\n" for words, _ in asked)
    before = set(here.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=here, input=lines, env=os.environ,
        capture_output=True, text=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked), done.stderr
    for (words, message), (end, said, heavy) in zip(asked, answers, strict=True):
        text = said if end == "2" else end
        assert message in text, words
        assert heavy == [], words
        assert end != "0", words
    made = {path.name for path in here.rglob("*") if path not in before}
    assert made <= {"out.tsv.rejected.tsv"}
