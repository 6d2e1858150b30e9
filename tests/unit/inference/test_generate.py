"""`plm-scaling generate`: what is drawn is what the model says, whatever the batch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from cell_fixtures import MUP
from finished_runs import CONTEXT, finished_run
from public_models import progen2_folder
from scipy.stats import chisquare

from plm_scaling.cli import main as cli
from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.generation.decoder import Uncached, open_decoder
from plm_scaling.inference.generation.generate import first_residues, generate_fasta
from plm_scaling.inference.generation.generator import Generator
from plm_scaling.inference.generation.options import Sampling
from plm_scaling.inference.generation.sampling import draw, numbers_of
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.run import open_run
from plm_scaling.sources.read.fasta import read_fasta
from plm_scaling.tokens.format.vocabulary import EOD, RESIDUE_ID, STANDARD

IDS = [*(RESIDUE_ID[letter] for letter in STANDARD), EOD]
SAMPLES = 4000
LEAST_P = 1e-3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of one layer by recipe, with (`start`) and without (`bare`) start token, and an MLM."""
    folder = tmp_path_factory.mktemp("runs")
    for recipe in ("study", "prenorm"):
        for kind in ("start", "bare"):
            name = f"{recipe}-{kind}"
            finished_run(folder / name, "clm", recipe, layers=1, start_token=kind == "start")
    finished_run(folder / "mlm", "mlm")
    return folder


def made(model, rows=None, first=None, **options):
    """Proteins and whether they ended."""
    batches = Generator(model, Sampling(**options), first).batches(rows)
    return [one for batch in batches for one in batch]


@pytest.mark.parametrize("recipe", ["study", "prenorm"])
@pytest.mark.parametrize("width", [1, 5])
def test_cached_logits_are_those_of_the_whole_row(tmp_path, recipe, width):
    finished_run(tmp_path, "clm", recipe, **(MUP if recipe == "prenorm" else {}))
    rng = np.random.default_rng(4)
    tokens = rng.integers(1, 21, (6, CONTEXT)).astype(np.uint8)
    with open_run(tmp_path, 1) as model:
        plain = Uncached(model)
        with open_decoder(model, CONTEXT) as decoder:
            found = [decoder.begin(tokens[:, :width])]
            found += [decoder.next(tokens[:, place]) for place in range(width, 30)]
            decoder.keep(np.array([1, 2, 5]))
            found += [decoder.next(tokens[[1, 2, 5], place]) for place in range(30, CONTEXT)]
            # A second batch sees nothing of the first.
            again = decoder.begin(tokens[:2, :width])
        whole = model.logits(tokens, np.full(6, CONTEXT))
        assert torch.allclose(again, whole[:2, width - 1], atol=1e-5)
        expected = [plain.begin(tokens[:, :width])]
        expected += [plain.next(tokens[:, place]) for place in range(width, 30)]
    for place, (own, other) in enumerate(zip(found, expected, strict=False), start=width - 1):
        torch.testing.assert_close(own, whole[:, place], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other, whole[:, place], atol=1e-5, rtol=1e-5)
    for place, own in enumerate(found[30 - width + 1 :], start=30):
        torch.testing.assert_close(own, whole[[1, 2, 5], place], atol=1e-5, rtol=1e-5)


def test_model_is_as_before_after_decoding(runs):
    tokens = np.arange(1, 9, dtype=np.uint8)[None]
    with open_run(runs / "study-bare", 1) as model:
        before = model.logits(tokens, np.array([8]))
        made(model, number=3, prompt="M", max_length=9)
        assert torch.equal(model.logits(tokens, np.array([8])), before)


@pytest.mark.parametrize("kind", ["study-start", "prenorm-bare"])
def test_frequencies_are_the_models_probabilities(runs, kind):
    start = kind.endswith("start")
    prompt = "" if start else "K"
    with open_run(runs / kind, 1) as model:
        options = {"number": SAMPLES, "max_length": len(prompt) + 2, "temperature": 0.8}
        found = made(model, rows=500, prompt=prompt, **options)

        def expected(before, empty):
            row = model.tokens(before.encode() + b"\n\0")[:-1]
            logits = model.logits(row[None], np.array([len(row)]))[0, -1, IDS].double().numpy()
            weights = np.exp(logits / 0.8)
            weights[-1] *= not empty  # no protein is empty
            return weights / weights.sum()

        letters = [sequence.decode()[len(prompt) :] + "." for sequence, _ in found]
        first = expected(prompt, start)
        check_frequencies([text[0] for text in letters], first)
        common = STANDARD[first[:20].argmax()]
        after = [text[1] for text in letters if text[0] == common]
        assert len(after) > SAMPLES / 21
        check_frequencies(after, expected(prompt + common, False))


def check_frequencies(letters, probability):
    """By χ²; letters of which fewer than 5 are expected are one class."""
    counts = np.array([letters.count(letter) for letter in [*STANDARD, "."]])
    assert not counts[probability == 0].any()
    likely = probability * len(letters) >= 5
    observed = np.append(counts[likely], counts[~likely].sum())
    share = np.append(probability[likely], probability[~likely].sum())
    some = share > 0
    assert chisquare(observed[some], share[some] * len(letters)).pvalue > LEAST_P


def test_draws_have_the_kept_probabilities():
    probability = np.array([0.5, 0.02, 0.3, 0.0, 0.18])
    logits = np.tile(np.log(np.maximum(probability, 1e-300)), (20_000, 1))
    logits[:, 3] = -np.inf
    numbers = numbers_of(7, np.arange(20_000), 3)
    for top_p, kept in ((1.0, [0, 1, 2, 4]), (0.9, [0, 2, 4]), (0.6, [0, 2]), (0.1, [0])):
        counts = np.bincount(draw(logits, numbers, 1.0, top_p), minlength=5)
        assert set(np.flatnonzero(counts)) == set(kept)
        expected = 20_000 * probability[kept] / probability[kept].sum()
        assert len(kept) == 1 or chisquare(counts[kept], expected).pvalue > LEAST_P
    squared = probability**2 / (probability**2).sum()
    counts = np.bincount(draw(logits, numbers, 0.5, 1.0), minlength=5)
    some = squared > 0
    assert chisquare(counts[some], 20_000 * squared[some]).pvalue > LEAST_P


def test_greedy_is_the_limit_of_low_temperatures(runs):
    options = {"number": 4, "prompt": "MK", "max_length": 30, "top_p": 0.9}
    with open_run(runs / "prenorm-bare", 1) as model:
        greedy = made(model, temperature=0.0, **options)
        assert made(model, temperature=1e-9, **options) == greedy
        row = model.tokens(b"MK\n\0")[:-1]
        for letter in greedy[0][0].decode()[2:]:
            likeliest = model.logits(row[None], np.array([len(row)]))[0, -1, IDS].argmax()
            assert STANDARD[likeliest] == letter
            row = np.append(row, np.uint8(IDS[likeliest]))
    assert len(set(greedy)) == 1


def test_public_model_makes_proteins_without_a_cache(tmp_path):
    progen2_folder(tmp_path / "progen2")
    with open_model(str(tmp_path / "progen2"), 1) as model:
        with open_decoder(model, 9) as decoder:
            assert isinstance(decoder, Uncached)
        greedy = made(model, number=2, temperature=0.0, max_length=12)
        ids = [*model.alphabet.residues, model.alphabet.end]
        row = np.array(model.alphabet.row_prefix, np.uint8)
        for letter in greedy[0][0].decode():
            logits = model.logits(row[None], np.array([len(row)]))[0, -1, ids]
            assert STANDARD[logits[: 20 if len(row) == 1 else 21].argmax()] == letter
            row = np.append(row, np.uint8(ids[STANDARD.index(letter)]))
        drawn = made(model, number=30, prompt="MK", max_length=12)
    assert greedy[0] == greedy[1]
    assert len(set(drawn)) > 20
    assert all(protein.startswith(b"MK") for protein, _ in drawn)


def test_proteins_depend_on_the_seed_and_not_on_the_batch(runs):
    options = {"number": 15, "temperature": 0.9, "top_p": 0.95, "max_length": 40}
    with open_run(runs / "study-start", 1) as model:
        each = [made(model, rows, seed=5, **options) for rows in (1, 7, 64)]
        assert each[0] == each[1] == each[2]
        fewer = made(model, 64, seed=5, **(options | {"number": 9}))
        assert fewer == each[0][:9]
        assert len(set(made(model, 64, seed=6, **options)) & set(each[0])) < 5


def test_nothing_is_held_but_a_batch(runs):
    with open_run(runs / "study-start", 1) as model:
        many = Generator(model, Sampling(number=10**15, max_length=3)).batches(4)
        assert len(next(many)) == len(next(many)) == 4
        many.close()


def test_proteins_end_or_are_cut_and_begin_with_the_prompt(runs):
    with open_run(runs / "study-bare", 1) as model:
        found = made(model, number=60, prompt="MFVX", max_length=20)
    assert all(protein.startswith(b"MFVX") for protein, _ in found)
    assert all(set(protein[4:].decode()) <= set(STANDARD) for protein, _ in found)
    assert {ended for _, ended in found} == {True, False}
    assert all(ended or len(protein) == 20 for protein, ended in found)
    assert max(len(protein) for protein, _ in found) == 20


def test_first_residues_are_drawn_from_those_of_a_file(runs, tmp_path):
    fasta = tmp_path / "train.fasta"
    fasta.write_text("".join(f">{i}\n{'MMMKX'[i % 5]}AGV\n" for i in range(50)))
    first = first_residues([fasta], tmp_path / "out.fasta")
    assert first[STANDARD.index("M")] == pytest.approx(0.75)
    with open_run(runs / "study-bare", 1) as model:
        found = made(model, first=first, number=400, max_length=2)
    begun = [protein[:1] for protein, _ in found]
    assert set(begun) == {b"M", b"K"}
    assert chisquare([begun.count(b"M"), begun.count(b"K")], [300, 100]).pvalue > LEAST_P


@pytest.mark.long  # it imports PyTorch and megatron-core, which others here have by now
@pytest.mark.parametrize("words", ["generate no --out a.fasta", "evaluate no gb1 --out a.tsv"])
def test_a_command_of_a_terminal_says_one_line_and_no_warning_of_libraries(tmp_path, words):
    (tmp_path / "data/downstream/gb1").mkdir(parents=True)
    (tmp_path / "data/downstream/gb1/task.json").write_text('{"task": "regression"}')
    command = [sys.executable, "-m", "plm_scaling.cli.main", *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


def test_file_is_the_same_when_made_again(runs, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new.fasta"
    words = ["generate", runs / "study-start", "--number", 9, "--seed", 3, "--temperature", 0.8]
    words += ["--top-p", 0.9, "--max-length", 30, "--out", out, "--threads", 1]
    monkeypatch.setattr(sys, "argv", ["plm-scaling", *map(str, words)])
    cli.main()
    text = out.read_text()
    records = [
        one for batch in read_fasta(out) for one in zip(batch.ids, batch.sequences, strict=True)
    ]
    assert [name for name, _ in records] == [b"generated-%d" % (i + 1) for i in range(9)]
    about = json.loads((tmp_path / "new.fasta.json").read_text())
    assert about["ended"] == text.count(" ended=true\n") == 9 - text.count(" ended=false\n")
    assert about["residues"] == sum(len(sequence) for _, sequence in records)
    assert (about["seed"], about["top_p"], about["max_length"]) == (3, 0.9, 30)
    batches = Generator.batches

    def killed(self):
        yield next(batches(self, rows=4))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Generator, "batches", killed)
        out.unlink()
        with pytest.raises(KeyboardInterrupt):
            cli.main()
        assert not out.exists()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--json"])
    capsys.readouterr()
    cli.main()
    assert out.read_text() == text
    told = json.loads(capsys.readouterr().out)
    counts = {name: about[name] for name in ("proteins", "ended", "residues")}
    assert told == {"out": str(out), **counts}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("mlm", {"prompt": "M"}, "is an MLM"),
        ("study-bare", {}, "--first with a FASTA"),
        ("study-bare", {"prompt": "m"}, "m is no residue"),
        ("study-bare", {"prompt": "MKV", "max_length": 3}, "above the 3 residue"),
        ("study-bare", {"prompt": "M", "max_length": CONTEXT + 1}, f"at most {CONTEXT}"),
        ("study-start", {"max_length": CONTEXT}, f"at most {CONTEXT - 1}"),
        ("study-start", {"temperature": -1.0}, "--temperature is -1.0"),
        ("study-start", {"top_p": 0.0}, "--top-p is 0.0"),
        ("study-start", {"number": 0}, "--number is 0"),
    ],
)
def test_what_cannot_be_made_is_refused(runs, tmp_path, model, options, message):
    with pytest.raises(InferenceError, match=message):
        generate_fasta(str(runs / model), tmp_path / "x.fasta", Sampling(**options), [], 1)
    assert not list(tmp_path.iterdir())


def test_first_residues_for_a_model_that_has_a_start_are_refused(runs, tmp_path):
    fasta = tmp_path / "train.fasta"
    fasta.write_text(">a\nMAG\n")
    with pytest.raises(InferenceError, match="--first is for"):
        generate_fasta(str(runs / "study-start"), tmp_path / "x.fasta", Sampling(), [fasta], 1)
