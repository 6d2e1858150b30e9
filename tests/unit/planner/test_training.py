"""How long a plan takes, the shapes around it, and what the command prints."""

import json
import re
import subprocess
import sys

import pytest

from plm_scaling.common.errors import SweepError
from plm_scaling.config.load import validate_config
from plm_scaling.planner import Question, plan
from plm_scaling.planner.text import answer_text
from plm_scaling.planner.training import full_study, nearest_shapes
from plm_scaling.study.hardware import GPUS, gpu_hours
from plm_scaling.study.shapes import STUDY_GRID


def test_days_on_gpus_are_the_compute_that_they_afford():
    answer = plan(Question(objective="clm", gpus="8xA100", days=14, utilisation=0.35))
    assert answer.time.days == pytest.approx(14, rel=1e-6)
    afforded = 14 * 86400 * 8 * GPUS["A100"].peak_flops_per_second * 0.35
    exact = answer.flops.value / afforded  # less attention and the output layer
    assert 0.9 < exact < 1
    assert answer.time.gpu_hours == pytest.approx(14 * 24 * 8, rel=1e-6)
    assert not answer.time.utilisation_assumed
    back = plan(Question("clm", answer.flops.value, gpus="8xA100", utilisation=0.35))
    assert back.time.days == pytest.approx(14, rel=1e-6)


def test_utilisation_is_assumed_by_size_where_it_is_not_given():
    small, large = (plan(Question("clm", params=n)) for n in ("30M", "1B"))
    assert (small.time.utilisation, large.time.utilisation) == (0.2, 0.4)
    assert small.time.utilisation_assumed
    assert "20 % of their peak (assumed)" in answer_text(small)


def test_shapes_are_those_around_the_size_with_what_a_cell_of_the_study_has():
    answer = plan(Question(objective="clm", flops=1e21))
    near = [name for name, _ in nearest_shapes(answer.n_params.value)]
    assert [row.name for row in answer.shapes] == near
    for row in answer.shapes:
        assert row.batch_tokens == 1048576
        assert row.peak_learning_rate == 3e-4
        assert row.tokens == row.steps * row.batch_tokens
        assert 6 * row.n_params * row.tokens == pytest.approx(1e21, rel=0.01)
        assert row.tensor * row.pipeline * row.data == row.gpus == 8
        assert 1e10 < row.memory_bytes_per_gpu < 80e9
        assert row.days == pytest.approx(answer.time.days, rel=0.1)
        assert row.loss_nats_per_token == pytest.approx(answer.loss_nats_per_token.value, abs=0.002)


def test_fixed_tokens_are_those_of_the_shapes_too():
    for row in plan(Question(objective="clm", tokens="100B")).shapes:
        assert row.tokens == pytest.approx(1e11, rel=0.01)


def test_nearest_shapes_are_the_two_around_and_only_one_beyond_the_ladder():
    assert [name for name, _ in nearest_shapes(1.25e9)] == ["1.2B", "1.5B"]
    assert [name for name, _ in nearest_shapes(1e3)] == ["3.5M"]
    assert [name for name, _ in nearest_shapes(1e12)] == ["10.7B"]
    answer = plan(Question(objective="clm", flops=1e23))
    assert any("no shape of the ladder is near" in warning for warning in answer.warnings)
    assert nearest_shapes(STUDY_GRID["6B"].n_params("study"))[0][0] == "6B"


def test_what_fits_on_no_gpu_is_said():
    answer = plan(Question(objective="clm", flops=3e21, gpus="1xRTX4090"))
    assert answer.shapes == []
    assert any("nothing fits" in warning for warning in answer.warnings)


def test_full_study_is_the_config_of_the_repository(root):
    import yaml

    config = validate_config(yaml.safe_load((root / "config.yaml").read_text()), "config.yaml")
    inputs, machine = full_study()
    assert machine == config.machine
    assert inputs.training == config.training


def test_gpu_hours_are_flops_over_achieved_rate():
    assert gpu_hours(989e12 * 0.5 * 3600, "H100", 0.5) == pytest.approx(1.0)
    with pytest.raises(SweepError, match="H100"):
        gpu_hours(1e20, "H1000", 0.5)
    with pytest.raises(SweepError, match="utilisation"):
        gpu_hours(1e20, "H100", 40)


def run(*options, objective="clm"):
    command = [sys.executable, "-m", "plm_scaling.cli.main", "plan", "--objective", objective]
    command += options
    return subprocess.run(command, capture_output=True, text=True)


def test_command_refuses_with_exit_code_1_and_one_line():
    done = run("--flops", "1e21", "--unique-tokens", "1e6")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_json_is_the_answer_and_its_terminal_fits_a_screen():
    question = Question(objective="clm", loss="2.2", serve="1T", unique_tokens="300B")
    done = run("--loss", "2.2", "--serve", "1T", "--unique-tokens", "300B", "--json")
    assert json.loads(done.stdout) == json.loads(json.dumps(plan(question).to_json()))
    lines = answer_text(plan(question)).splitlines()
    assert len(lines) <= 24
    assert "Infinity" not in done.stdout


def test_units_are_billions_and_small_jobs_have_minutes():
    text = answer_text(plan(Question(objective="clm", flops="1e17")))
    assert "0 GPU-hours" not in text
    assert re.search(r"time +\S+ minutes on 8xH100 .*: 0\.\d+ GPU-hours", text)
    large = plan(Question(objective="clm", flops=1e21))
    assert f"{large.n_params.value / 1e9:.2f}B" in answer_text(large)


def test_both_objectives_are_two_answers():
    done = run("--flops", "1e21", "--json", objective="both")
    assert list(json.loads(done.stdout)) == ["clm", "mlm"]


def test_shipped_laws_answer_without_what_is_slow_to_import():
    code = (
        "import sys; from plm_scaling.planner import Question, plan;"
        "plan(Question(objective='mlm', flops=1e21, unique_tokens=15.4e9));"
        "heavy = ('torch', 'megatron', 'scipy', 'pandas', 'matplotlib');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"flops": 1e20}, ": 100 GPU-hours"),
        ({"flops": 1e17}, ", 1.61k a parameter"),
        ({"loss": 2.0}, "the nearest has 10.7B parameters"),
        ({"loss": 2.0}, ": 35,582 GPU-hours"),
    ],
)
def test_numbers_of_the_terminal_have_no_exponents_but_compute_and_learning_rates(given, words):
    answer = plan(Question(objective="clm", **given))
    text = answer_text(answer)
    assert words in text
    compute = r"\de\+\d+ (?:to|FLOPs)|training FLOPs.*|\d\.\de-\d+"
    assert not re.search(r"\de[+-]\d", re.sub(compute, "", text))
