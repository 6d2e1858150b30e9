"""`plm-scaling init`: what it writes, says and refuses."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from plm_scaling.cli.init import init
from plm_scaling.common.errors import ConfigError, LawError, SourceError
from plm_scaling.config.load import read_config
from plm_scaling.init.make import MIXED, make
from plm_scaling.init.proteins import REFERENCE
from plm_scaling.sweep.cells import plan_cells

LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)


def write_fasta(path, sequences, length):
    """So many random proteins, in blocks, so that memory holds few of them."""
    rng = np.random.default_rng(5)
    with path.open("wb") as file:
        for first in range(0, sequences, 10_000):
            block = LETTERS[rng.integers(0, 20, (min(10_000, sequences - first), length))]
            for number, row in enumerate(block, first):
                file.write(b">p%d\n%b\n" % (number, row.tobytes()))
    return path


@pytest.fixture(scope="module")
def proteins(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("proteins") / "mine.fasta", 4000, 300)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def on_screen(text):
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    return text


def test_demo_sets_give_a_config_of_thirty_lines_and_a_screen(root, here, capsys):
    files = [root / f"resources/demo/{name}_demo.fasta.gz" for name in ("uniref", "metagenome")]
    init(Path("my-study"), fasta=files, gpus="2xCPU", hours=0.5)
    said = on_screen(capsys.readouterr().out)
    text = (here / "my-study/config.yaml").read_text()
    assert len(text.splitlines()) <= 30
    config = read_config(here / "my-study/config.yaml")
    assert config.study == "my-study"
    assert config.sweep.objectives == ["clm", "mlm"]
    assert config.data.own["my-study"]["path"] == [str(file) for file in files]
    assert "15,584 proteins, 5,176,805 residues in 2 files" in said
    assert "2 CPU cores for 0.5 hours: 1 core-hour," in said
    assert "residues are, and little more" in said
    assert "plm-scaling run" in said.splitlines()[-1]
    tokens = sum(cell.tokens > 0 for cell in plan_cells(config).values())
    assert tokens == sum(len(entry.sizes) for entry in config.sweep.designed)


def test_dry_run_says_the_same_and_writes_nothing(proteins, here, capsys):
    def said(**options):
        init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.3, objective=["clm"], **options)
        return capsys.readouterr().out

    dry = on_screen(said(dry_run=True))
    assert not list(here.iterdir())
    assert dry.splitlines()[:-1] == said().splitlines()[:-2]
    assert [path.name for path in here.rglob("*")] == ["mine", "config.yaml"]


def test_json_has_what_was_chosen(proteins, here, capsys):
    init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.3, dry_run=True, json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["sequences"] == 4000
    assert facts["residues"] == 1_200_000
    assert facts["training_tokens_at_most"] < 0.85 * 1_204_000
    assert facts["device_hours_of_sweep"] <= facts["device_hours"] == 0.6
    assert yaml.safe_load(facts["config"])["sweep"]["budgets_flops"]


def test_gpus_get_their_machine_and_what_the_sweep_is_expected_to_teach(here, capsys, proteins):
    init(Path("big"), fasta=[proteins], gpus="8xA100", days=14, mix="uniref50")
    said = on_screen(capsys.readouterr().out)
    assert "fine-tune" in said  # so few proteins among so many
    assert "exponent of the best size ±" in said
    assert "FLOPs within a factor of " in said
    config = read_config(here / "big/config.yaml")
    assert (config.machine.gpu, config.machine.max_gpus) == ("A100", 8)
    mixture = config.corpora["big"].mixture
    assert set(mixture) == {"big", "uniref50"}
    assert mixture["big"] < 0.01
    assert config.filter.reference_source == "uniref50"
    assert config.split.reference_fraction * MIXED["uniref50"] == pytest.approx(REFERENCE, rel=0.05)
    assert len((here / "big/config.yaml").read_text().splitlines()) <= 30


def test_file_names_are_written_as_yaml_reads_them(proteins, here):
    odd = here / ("my, proteins: [all] #" + 12 * " and more") / "it's.fasta"
    odd.parent.mkdir()
    odd.symlink_to(proteins)
    init(Path("mine"), fasta=[odd], gpus="2xCPU", hours=0.3, objective=["clm"])
    assert read_config(Path("mine/config.yaml")).data.own["mine"]["path"] == [str(odd)]


SOME = ["2024", "no", *(pytest.param(name, marks=pytest.mark.long) for name in ("null", "1e5"))]


@pytest.mark.parametrize("name", SOME)
def test_names_of_studies_are_written_as_yaml_reads_them(proteins, here, name):
    init(Path(name), fasta=[proteins], gpus="8xA100", days=14, mix="uniref50")
    config = read_config(here / name / "config.yaml")
    assert config.study == name
    assert set(config.corpora[name].mixture) == {name, "uniref50"}


def test_notes_stand_by_what_they_are_about(proteins, here):
    init(Path("mine"), fasta=[proteins], gpus="1xCPU", hours=1)
    lines = (here / "mine/config.yaml").read_text().splitlines()
    held_out = next(n for n, line in enumerate(lines) if "tokens are held out" in line)
    assert any(line.startswith("split:") for line in lines[held_out : held_out + 2])
    assert sum("FLOPs = 6 × parameters × tokens" in line for line in lines) == 1
    assert max(map(len, lines[held_out:])) <= 100


def test_no_objective_is_both(proteins, here):
    init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.5, objective=[])
    assert read_config(here / "mine/config.yaml").sweep.objectives == ["clm", "mlm"]


def test_a_folder_that_is_made_meanwhile_stays_as_it_is(proteins, here, monkeypatch):
    def chosen_slowly(request):
        made = make(request)
        (here / "mine").mkdir()
        (here / "mine/notes.txt").write_text("precious")
        return made

    monkeypatch.setattr("plm_scaling.init.make.make", chosen_slowly)
    with pytest.raises(ConfigError, match=r"mine exists and stays as it is"):
        init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.3)
    assert [path.name for path in (here / "mine").iterdir()] == ["notes.txt"]


def test_a_config_that_cannot_be_written_leaves_no_folder(proteins, here, monkeypatch):
    def full(self, text):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.3)
    assert not list(here.iterdir())


def test_an_existing_folder_stays_as_it_is(proteins, here):
    (here / "mine").mkdir()
    (here / "mine/notes.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"mine exists and stays as it is"):
        init(Path("mine"), fasta=[proteins], gpus="2xCPU", hours=0.3)
    assert [path.name for path in (here / "mine").iterdir()] == ["notes.txt"]


def test_many_cores_that_cannot_all_be_used_are_told(proteins, here, capsys):
    init(Path("mine"), fasta=[proteins], gpus="64xCPU", hours=0.05)
    assert "each model is trained on one core" in on_screen(capsys.readouterr().out)


@pytest.mark.parametrize("sequences", [50, 1000])
def test_few_proteins_are_refused_with_what_is_better(here, sequences):
    few = write_fasta(here / "few.fasta", sequences, 300)
    with pytest.raises(ConfigError, match=r"too few to train from scratch.*LoRA") as refused:
        init(Path("mine"), fasta=[few], gpus="8xA100", days=14)
    assert "\n" not in str(refused.value)
    assert not (here / "mine").exists()


def test_files_that_cannot_be_used_are_refused_in_one_line(here, proteins):
    packed = gzip.compress(proteins.read_bytes())
    bad = {
        "broken.faa.gz": (packed[: len(packed) // 2], "ends early|truncated|damaged|incomplete"),
        "genes.fa": (b">g\n" + b"ACGTTGCA" * 200 + b"\n", "nucleotides"),
        "empty.fa": (b"", "empty|nothing"),
        "odd.fa": (b">o\nMK1LV#\n", "no record can be used"),
        "reads.fastq": (b"@r\nACGT\n+\nIIII\n", "FASTQ"),
    }
    for name, (content, why) in bad.items():
        (here / name).write_bytes(content)
        with pytest.raises(SourceError, match=rf"(?s){name}.*({why})") as refused:
            init(Path("mine"), fasta=[proteins, here / name], gpus="2xCPU", hours=0.3)
        assert "\n" not in str(refused.value)
    assert not (here / "mine").exists()


def said_of(capsys, *files):
    """Facts of the files, as JSON."""
    init(Path("mine"), fasta=[*files], gpus="2xCPU", hours=0.3, dry_run=True, json=True)
    return json.loads(capsys.readouterr().out)


def test_files_are_those_that_the_study_reads(proteins, here, capsys):
    folder = here / "folder"
    folder.mkdir()
    (folder / "mine.fasta").symlink_to(proteins)
    (folder / "notes.txt").write_text("not proteins")
    pq.write_table(
        pa.table({"id": ["a"], "sequence": ["ACDEFGHIKLMNPQRSTVWYYWVTSRQPNMLKIHGFEDCA"]}),
        folder / "other.parquet",
    )
    for given in ([folder], [folder, folder / "mine.fasta"], [here / "fol*/*.fasta"]):
        assert said_of(capsys, *given)["sequences"] == 4000
    with pytest.raises(SourceError, match=r"is fasta and .* is parquet; make each a source"):
        said_of(capsys, folder / "mine.fasta", folder / "other.parquet")
    (here / "{odd}.fasta").symlink_to(proteins)
    with pytest.raises(SourceError, match=r"\{odd\}.fasta, whose name has braces"):
        said_of(capsys, here / "{odd}.fasta")
    (folder / "other.parquet").rename(here / "other.fasta")
    with pytest.raises(SourceError, match=r"Parquet by its content, but fasta by its name"):
        said_of(capsys, here / "other.fasta")
    with pytest.raises(SourceError, match=r"none.fasta does not exist"):
        said_of(capsys, here / "none.fasta")


def test_bad_records_are_refused_where_the_study_stops(proteins, here, capsys):
    def with_bad(records):
        file = here / "some.fasta"
        file.write_bytes(proteins.read_bytes() + b">b\nMK1LV#\n" * records)
        return said_of(capsys, file)

    assert with_bad(3)["sequences"] == 4000  # a share of data.max_rejected_fraction at most
    with pytest.raises(SourceError, match=r"5 of 4,005 records cannot be used.* 0\.001"):
        with_bad(5)


def test_what_runs_next_takes_no_more_cores_than_asked(proteins, here, capsys, monkeypatch):
    def last_line(gpus, cores):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {*range(cores)})
        init(Path(f"on{cores}-{gpus}"), fasta=[proteins], gpus=gpus, hours=1)
        return capsys.readouterr().out.splitlines()[-1]

    assert last_line("2xCPU", 2).endswith(" --dry-run")
    assert last_line("2xCPU", 8).endswith(" --dry-run -- --cores 2")
    assert last_line("1xA100", 8).endswith(" --dry-run")


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"gpus": "8xA101", "days": 14}, LawError, "gpus is '8xA101'"),
        ({"gpus": "2cpu", "days": 14}, ConfigError, "gpus is '2cpu'.* 2xCPU"),
        ({"gpus": "2xCPU"}, ConfigError, "one of --days and --hours"),
        ({"gpus": "2xCPU", "days": 1, "hours": 1}, ConfigError, "one of --days and --hours"),
        ({"gpus": "2xCPU", "hours": -1}, LawError, "hours is -1"),
    ],
)
def test_what_cannot_be_meant_is_refused(proteins, here, options, error, why):
    with pytest.raises(error, match=why):
        init(Path("mine"), fasta=[proteins], **options)


def peak_bytes_of(command, folder):
    """Most memory of a program, and what it prints."""
    program = (
        "import resource, subprocess, sys; r = subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    *said, peak = done.stdout.splitlines()
    return int(peak), "\n".join(said)


@pytest.mark.parametrize("sequences", [100_000, pytest.param(2_000_000, marks=pytest.mark.long)])
def test_many_proteins_in_constant_memory(here, sequences):
    many = write_fasta(here / "many.fasta", sequences, 100)
    main = [sys.executable, "-m", "plm_scaling.cli.main"]
    asked = ["init", "mine", "--fasta", str(many), "--gpus", "8xA100", "--days", "14"]
    peak, said = peak_bytes_of([*main, *asked], here)
    assert peak < 600e6
    assert f"{sequences:,} proteins, {100 * sequences:,} residues" in on_screen(said)
    assert read_config(here / "mine/config.yaml").data.parts == 1
