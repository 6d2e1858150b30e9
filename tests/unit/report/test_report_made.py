"""The end of a page: what it was made with, and the words that it uses."""

import re
import subprocess

from cell_fixtures import cell_of, record_of

from plm_scaling import __version__
from plm_scaling.common.files import write_json
from plm_scaling.report.html.glossary import abbreviated, glossary
from plm_scaling.report.parts import made as made_module
from plm_scaling.report.parts.made import made_with
from plm_scaling.study.shapes import Shape

CELL = cell_of("clm", Shape(layers=1, hidden=8, ffn=21, heads=1))
LAYOUT = {"backend": "cuda", "tensor": 2, "pipeline": 1, "data": 4, "micro_batch_rows": 1}


def write_records(folder, **facts):
    """Two runs of an hour on 8 GPUs, and one of a version that recorded no device."""
    known = {"device": "NVIDIA A100", "layout": LAYOUT, "wall_seconds": 3600.0} | facts
    times = ("2026-01-02T03:04:05Z", "2026-01-09T03:04:05Z")
    records = [record_of(CELL, starts=[{"time": time, "step": 0}], **known) for time in times]
    paths = [folder / f"{number}.json" for number in range(3)]
    for path, record in zip(paths, [*records, record_of(CELL)], strict=True):
        write_json(path, record.to_json())
    return paths


def test_made_with_has_hardware_hours_versions_and_the_config(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("seed: 7\n")
    found = made_with(config, None, write_records(tmp_path))
    rows = found.rows
    assert rows["trained on NVIDIA A100"] == "2 runs on at most 8 GPUs: 16 GPU-hours (16:00:00)"
    assert rows["runs started (UTC)"] == "first 2026-01-02T03:04:05Z, last 2026-01-09T03:04:05Z"
    assert rows["first start to last end"] == "169:00:00, with all waits between runs"
    assert rows["trained with"] == "torch 2.13.0, megatron-core 0.16.1, python 3.11.2"
    assert rows["plm-scaling"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", rows["page made (UTC)"])
    assert len(rows[f"SHA-256 of {config}"]) == 64
    assert found.config == "seed: 7\n"
    assert made_with(config, None, write_records(tmp_path)) == found


def test_what_no_file_says_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(made_module, "ROOT", tmp_path)
    rows = made_with(records=write_records(tmp_path, device=None)).rows
    assert not [name for name in rows if name.startswith(("trained", "runs", "commit", "SHA"))]


def test_commit_is_that_of_the_checkout_and_says_if_files_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(made_module, "ROOT", tmp_path)
    file = tmp_path / "file"
    file.write_text("one")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "file"], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    commit = made_with().rows["commit"]
    assert re.fullmatch("[0-9a-f]{10}", commit)
    file.write_text("two")
    assert made_with().rows["commit"] == f"{commit}-dirty"


def test_glossary_has_the_words_of_the_page_and_no_others():
    page = "<style>.padding {}</style>IsoFLOP minima, N<sub>opt</sub> in nats<b>MLM</b>"
    found = dict(glossary(page))
    assert list(found) == ["CLM, MLM", "IsoFLOP", "N_opt, D_opt", "Nats (per token)"]
    assert (
        found["IsoFLOP"] == "at equal compute; an IsoFLOP curve is loss against size at one budget."
    )
    assert not any("](" in meaning or "**" in meaning for meaning in found.values())


def test_words_of_headings_are_defined_on_hover_and_no_others():
    status = str(abbreviated('<span class="status">not identified</span>'))
    assert status.startswith('<span class="status"><abbr title="converged; two_points')
    page = '<h3>CLM isoflop</h3><p>CLM</p><table><tr><th class="n">C (FLOPs)</th><td>MLM</td>'
    shown = str(abbreviated(page))
    meanings = dict(glossary(page))
    assert f'<abbr title="{meanings["IsoFLOP"]}">isoflop</abbr>' in shown
    assert shown.count("<abbr") == 3
    assert "<p>CLM</p>" in shown
    assert "<td>MLM</td>" in shown
    assert glossary(shown) == glossary(page)


def test_glossary_explains_exponents_and_status():
    terms = [term for term, _ in glossary("<p>the exponent is converged, its status</p>")]
    assert terms == ["Exponents (a, b, c)", "Status (of a law)"]
