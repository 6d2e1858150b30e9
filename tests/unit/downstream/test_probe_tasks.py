"""Linear probes of frozen embeddings: golden values of the letters alone, and trained tasks."""

import json
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from benchmark_files import benchmark_or_skip
from downstream_rows import evaluated, prepared
from finished_runs import finished_run
from sklearn.model_selection import KFold

from plm_scaling.common.counts import COLUMNS
from plm_scaling.common.errors import DownstreamError
from plm_scaling.config.downstream import Probe
from plm_scaling.downstream.probes.linear import choose, fit
from plm_scaling.downstream.probes.secondary_structure import MAX_RESIDUES
from plm_scaling.downstream.read import read_tables
from plm_scaling.tokens.format.vocabulary import STANDARD

FROM_TOKENS, ALL_LAYERS = (
    SimpleNamespace(probe=Probe(layers=layers), lora=None) for layers in ([0], [0, 1, 2])
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A finished MLM run, not trained."""
    folder = tmp_path_factory.mktemp("run")
    finished_run(folder / "mlm", "mlm", "prenorm")
    return folder / "mlm"


def proteins(number, seed=0, length=(20, 40)):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice([*STANDARD], rng.integers(*length))) for _ in range(number)]


def splits(number):
    return [("train", "train", "train", "valid", "test")[i % 5] for i in range(number)]


def table(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("split", "one_hot", "blosum"),
    [
        ("one_vs_rest", 0.2794, 0.1433),
        ("two_vs_rest", 0.5936, 0.1283),
        ("three_vs_rest", 0.7551, 0.0049),
        ("low_vs_high", 0.3429, None),
    ],
)
def test_floors_on_gb1_are_those_known(tmp_path, split, one_hot, blosum):
    files = [benchmark_or_skip("flip_gb1/splits.zip"), benchmark_or_skip("flip_gb1/5LDE_1.fasta")]
    facts = prepared("regression", files, tmp_path / split, split)
    assert facts["floors"]["one_hot_ridge"] == pytest.approx(one_hot, abs=0.005)
    if blosum is not None:
        assert facts["floors"]["blosum62_to_wild_type"] == pytest.approx(blosum, abs=1e-4)
    items = pd.read_parquet(tmp_path / split / "items.parquet")
    assert len(items) == 8733
    tested = int(items["split"].eq("test").sum())
    assert facts["overlap"]["homologous"] + facts["overlap"]["exact"] == tested  # of one protein


def test_majority_class_of_flip_is_that_known(tmp_path, monkeypatch):
    monkeypatch.setattr("plm_scaling.downstream.similarity.overlap.best_identities", nothing_found)
    files = [benchmark_or_skip("flip_ss/subset.tsv.gz")]
    facts = prepared("secondary_structure", files, tmp_path / "ss")
    assert facts["floors"]["majority"] == pytest.approx(0.386, abs=5e-4)
    assert facts["floors"]["letter"] == pytest.approx(0.5, abs=0.02)  # above: letters say something
    items = pd.read_parquet(tmp_path / "ss/items.parquet")
    assert items["split"].value_counts().to_dict() == {"train": 400, "test": 364, "valid": 200}


def nothing_found(queries, targets, out, min_seq_id):
    return np.full(len(queries), np.nan)


@pytest.fixture
def no_search(monkeypatch):
    monkeypatch.setattr("plm_scaling.downstream.similarity.overlap.best_identities", nothing_found)


@pytest.mark.usefixtures("no_search")
def test_what_embeddings_hold_is_found_by_ridge_and_noise_is_not(tmp_path, model):
    texts = proteins(300)
    share = [text.count("W") / len(text) + text.count("A") / len(text) for text in texts]
    noise = np.random.default_rng(1).normal(size=len(texts))
    found = {}
    for name, target in (("share", share), ("noise", noise)):
        path = table(tmp_path / f"{name}.csv", sequence=texts, target=target, split=splits(300))
        prepared("regression", [path], tmp_path / name)
        (found[name],) = evaluated("regression", model, tmp_path / name)
        predictions = pd.read_parquet(tmp_path / name / "predictions.parquet")
        assert len(predictions) == found[name].n_items == 60
    assert found["share"].value > 5 * found["share"].standard_error
    assert found["share"].layer == 2
    assert 0 < found["share"].standard_error < 0.2
    assert abs(found["noise"].value) < 4 * found["noise"].standard_error


@pytest.mark.usefixtures("no_search")
def test_predictions_that_are_all_the_same_have_no_score(tmp_path, model, monkeypatch):
    texts = proteins(60)
    path = table(tmp_path / "a.csv", sequence=texts, target=range(60), split=splits(60))
    prepared("regression", [path], tmp_path / "a")
    monkeypatch.setattr(
        "plm_scaling.inference.embedder.Embedder.means",
        lambda self, chunk, lengths, count: np.ones((len(lengths), 4), np.float32),
    )
    (score,) = evaluated("regression", model, tmp_path / "a")
    assert score.value is score.standard_error is None


def homologues(tmp_path):
    """Files as TAPE's, of three folds that the first residues tell apart."""
    rng = np.random.default_rng(3)
    for name, number in (
        ("train", 90),
        ("valid", 30),
        ("test_fold_holdout", 30),
        ("test_superfamily_holdout", 20),
        ("test_family_holdout", 20),
    ):
        folds = rng.integers(0, 3, number)
        rows = [
            {"primary": "WGP"[fold] * 12 + text, "fold_label": int(fold)}
            for fold, text in zip(folds, proteins(number, number), strict=True)
        ]
        if "family" in name:
            for row in rows[::2]:
                row["fold_label"] = 7  # a fold that training does not have
        path = tmp_path / f"remote_homology_{name}.json"
        path.write_text(json.dumps(rows))
        yield path


@pytest.mark.usefixtures("no_search")
def test_an_archive_of_tables_is_as_its_files(tmp_path):
    """TAPE's are in one."""
    (tmp_path / "files").mkdir()
    files = [*homologues(tmp_path / "files")]
    with tarfile.open(tmp_path / "folds.tar.gz", "w:gz") as archive:
        for path in files:
            archive.add(path, f"remote_homology/{path.name}")
    prepared("remote_homology", files, tmp_path / "apart")
    prepared("remote_homology", [tmp_path / "folds.tar.gz"], tmp_path / "together")
    apart, together = (
        pd.read_parquet(tmp_path / f"{one}/items.parquet") for one in ("apart", "together")
    )
    pd.testing.assert_frame_equal(apart, together)
    assert {*apart["split"]} >= {"test_fold", "test_superfamily", "test_family"}
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "folds.tar.gz").read_bytes()[:500])
    with pytest.raises(DownstreamError, match=r"cut\.tar\.gz cannot be read"):
        prepared("remote_homology", [tmp_path / "cut.tar.gz"], tmp_path / "cut")


@pytest.mark.usefixtures("no_search")
def test_folds_are_scored_apart_and_pooled(tmp_path, model):
    facts = prepared("remote_homology", [*homologues(tmp_path)], tmp_path / "folds")
    scores = {one.protocol: one for one in evaluated("remote_homology", model, tmp_path / "folds")}
    assert {name: one.n_items for name, one in scores.items()} == {
        **{"pooled": 70, "fold": 30},
        **{"superfamily": 20, "family": 20},
    }
    assert scores["fold"].value > 0.9
    assert scores["family"].value <= 0.5
    pooled = sum(
        scores[name].value * scores[name].n_items for name in ("fold", "superfamily", "family")
    )
    assert scores["pooled"].value == pytest.approx(pooled / 70)
    assert scores["fold"].floor == facts["floors"]["fold"] > 0.9  # by the shares of W, G and P


@pytest.mark.usefixtures("no_search")
@pytest.mark.parametrize("taken", [100_000, 200])
def test_structure_that_follows_from_residues_is_found(tmp_path, model, monkeypatch, taken):
    monkeypatch.setitem(MAX_RESIDUES, "train", taken)
    texts = proteins(60)
    classes = {letter: "HEC"[i % 3] for i, letter in enumerate(STANDARD)}
    labels = ["".join(classes[letter] for letter in text) for text in texts]
    resolved = ["0" + "1" * (len(text) - 1) for text in texts]
    path = table(
        tmp_path / "a.csv", sequence=texts, ss3=labels, resolved=resolved, split=splits(60)
    )
    prepared("secondary_structure", [path], tmp_path / "a")
    (score,) = evaluated("secondary_structure", model, tmp_path / "a", settings=FROM_TOKENS)
    lengths = {
        kind: sum(len(t) - 1 for t, k in zip(texts, splits(60), strict=True) if k == kind)
        for kind in ("train", "valid", "test")
    }
    assert (score.n_items, score.n_groups, score.layer) == (lengths["test"], 12, 0)
    assert score.value > 0.95
    assert score.floor == 1  # here the letter says all
    used = min(lengths["train"], taken) + lengths["valid"]
    assert f"of {used:,} residues" in score.note


@pytest.mark.usefixtures("no_search")
def test_residue_labels_in_the_form_of_flip(tmp_path):
    texts = proteins(40)
    kinds = ["SET=train VALIDATION=False", "SET=train VALIDATION=True", "SET=test VALIDATION=False"]
    members = {"sequences": "", "sampled": "", "mask": ""}
    for i, text in enumerate(texts):
        members["sequences"] += f">p{i}\n{text[:10]}\n{text[10:]}\n"
        members["sampled"] += f">p{i} {kinds[i % 3]}\n{('HEC' * len(text))[: len(text)]}\n"
        members["mask"] += (
            f">p{i}\n0{'1' * (len(text) - 1)}\n" if i else f">p0\n{'0' * len(text)}\n"
        )
    with zipfile.ZipFile(tmp_path / "splits.zip", "w") as archive:
        for name, text in members.items():
            archive.writestr(f"splits/{name}.fasta", text)
    prepared("secondary_structure", [tmp_path / "splits.zip"], tmp_path / "ss", "sampled")
    items = pd.read_parquet(tmp_path / "ss/items.parquet").set_index("id")
    assert "p0" not in items.index  # nothing of it is resolved
    assert items.loc["p1", "sequence"] == texts[1]
    assert items.loc["p1", "label"] == "-" + ("HEC" * 40)[1 : len(texts[1])]
    assert items["split"].value_counts().to_dict() == {"train": 13, "valid": 13, "test": 13}
    with pytest.raises(DownstreamError, match=r"neither a table 'other' nor sequences\.fasta"):
        prepared("secondary_structure", [tmp_path / "splits.zip"], tmp_path / "b", "other")


@pytest.mark.usefixtures("no_search")
def test_untrained_states_of_random_structure_are_at_the_floor(tmp_path, model):
    texts = proteins(200)
    rng = np.random.default_rng(5)
    labels = ["".join(rng.choice([*"HEC"], len(text), p=[0.3, 0.2, 0.5])) for text in texts]
    path = table(tmp_path / "a.csv", sequence=texts, ss3=labels, split=splits(200))
    prepared("secondary_structure", [path], tmp_path / "a")
    (score,) = evaluated("secondary_structure", model, tmp_path / "a")
    if score.value is not None:
        assert abs(score.value - score.floor) < 4 * score.standard_error


def test_layer_is_chosen_by_validation(tmp_path, model, no_search):
    texts = proteins(200)
    share = [text.count("W") / len(text) for text in texts]
    path = table(tmp_path / "a.csv", sequence=texts, target=share, split=splits(200))
    prepared("regression", [path], tmp_path / "a")
    (score,) = evaluated("regression", model, tmp_path / "a", settings=ALL_LAYERS)
    assert score.layer == 0  # the shares of letters are the mean of the token embeddings
    assert score.value > 0.95


@pytest.mark.usefixtures("quick_searches")
def test_overlap_of_the_sets_is_counted_and_said(tmp_path, model):
    texts = proteins(60, length=(60, 90))
    kinds = splits(60)
    tests = [i for i, kind in enumerate(kinds) if kind == "test"]
    texts[tests[0]] = texts[0]
    texts[tests[1]] = "AC" + texts[1][:20] + "W" + texts[1][21:]  # a homologue of other length
    texts[tests[2]] = texts[2][:10] + "W" + texts[2][11:]  # one of the same length
    path = table(tmp_path / "a.csv", sequence=texts, target=range(60), split=kinds)
    facts = prepared("regression", [path], tmp_path / "a")
    assert facts["overlap"] == {"tested": 12, "exact": 1, "homologous": 2, "note": ""}
    counts = pd.read_csv(tmp_path / "a/counts.tsv", sep="\t")
    assert [*counts] == COLUMNS
    found = counts.set_index("reason")["sequences"].to_dict()
    assert found == {
        **{"in": 60, "kept": 60, "no_label": 0},
        **{"handled:test_homologous_to_train": 2, "handled:test_in_train": 1},
    }
    (score,) = evaluated("regression", model, tmp_path / "a")
    assert "of 12 test sequences 1 are in the training set, 2 others have a homologue" in score.note


def test_without_mmseqs_homologues_are_said_not_to_be_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = table(tmp_path / "a.csv", sequence=proteins(60), target=range(60), split=splits(60))
    facts = prepared("regression", [path], tmp_path / "a")
    assert facts["overlap"]["homologous"] is None
    assert "no MMseqs2 was found" in facts["overlap"]["note"]


GOOD = {"sequence": ["ACDEF"] * 60, "target": [*range(60)], "split": splits(60)}


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("regression", {"target": [1.0] * 60}, "different labels"),
        ("regression", {"target": ["x", *range(59)]}, r"a\.csv, row 1: the label 'x' is no number"),
        ("regression", {"sequence": ["AC1"] * 60}, r"a\.csv, row 1: the sequence holds '1'"),
        ("regression", {"split": ["train"] * 60}, "the test set has 0 items"),
        ("secondary_structure", {"ss3": ["HHH"] * 60}, "row 1: label has 3 letters"),
        ("secondary_structure", {"ss3": ["HHHHZ"] * 60}, "has 'Z', which is none of HEC-"),
        ("remote_homology", {}, r"no column label or fold_label"),
        ("contacts", {"label": ["[[0, 9]]"] * 60}, "no list of pairs"),
    ],
)
def test_bad_input_is_named(tmp_path, task, changes, message):
    path = table(tmp_path / "a.csv", **GOOD | changes)
    with pytest.raises(DownstreamError, match=message):
        prepared(task, [path], tmp_path / "a")


def test_another_split_than_the_file_has_is_refused(tmp_path):
    """And not taken from its column `split`."""
    path = table(tmp_path / "a.csv", **GOOD)
    assert set(read_tables([path], "split", ["target"])["split"]) == set(GOOD["split"])
    with pytest.raises(DownstreamError, match=r"a\.csv has no column sampled, .* but sequence,"):
        read_tables([path], "sampled", ["target"])


def test_contact_beyond_the_sequence_is_named(tmp_path):
    path = tmp_path / "test.parquet"
    labels = [[[0, 4]], [[1, 5]]]
    pd.DataFrame({"seq": ["ACDEF", "ACDEG"], "label": labels}).to_parquet(path)
    with pytest.raises(DownstreamError, match=r"test\.parquet, row 2: a contact of residue 5"):
        prepared("contacts", [path], tmp_path / "a")


def test_folds_take_any_seed_and_small_ones_as_before():
    rng = np.random.default_rng(0)
    x, y, valid = rng.normal(size=(30, 4)), rng.normal(size=30), np.zeros(30, dtype=bool)
    small, large, other = (choose("ridge", x, y, valid, s) for s in (7, (1 << 64) - 1, 1 << 32))
    assert len({small.quality, large.quality, other.quality}) == 3  # folds of their own
    errors = [
        (fit("ridge", x[train], y[train], small.strength).predict(x[judge]) - y[judge]) ** 2
        for train, judge in KFold(5, shuffle=True, random_state=7).split(x)
    ]
    assert small.quality == pytest.approx(-np.concatenate(errors).mean(), rel=1e-12)
