"""Names and axes of single files: what is believed, what is corrected, what is refused."""

import numpy as np
import pytest

from plm_scaling.cheng2024.logs.curves import read_log, same_run
from plm_scaling.cheng2024.logs.names import read_name
from plm_scaling.cheng2024.logs.sizes import SIZES
from plm_scaling.common.errors import RunsError

SWEEP = "data/training_logs/{model}_valid/approach3_flops/{folder}/run-{model}_{stem}"
TAG = "-tag-lm-loss-validation_valid_lm loss validation vs gigaflos (without embeddings).csv"
INTERVAL = 300 * 1024  # tokens per row of the batch and evaluation


def sweep_path(stem, folder="127M_flops", model="gpt"):
    return SWEEP.format(model=model, folder=folder, stem=stem) + TAG


def log(x, value=None):
    """The bytes of a log; by default a loss that falls from 2.9."""
    x = np.asarray(x, dtype=float)
    value = 2.0 + 0.9 * np.arange(1, len(x) + 1) ** -0.3 if value is None else value
    rows = [f"{i},{a:.0f},{b:.17g}" for i, (a, b) in enumerate(zip(x, value, strict=True))]
    return "\n".join(["Wall time,Step,Value", *rows, ""]).encode()


def gflops(n_params, evaluations, rows=512):
    """The x-axis of evaluations (in intervals of 300 steps) as the study logs it."""
    return np.floor(6.0 * n_params * np.asarray(evaluations) * INTERVAL * rows / 1e9)


def test_name_of_a_sweep_run_is_taken_apart():
    named = read_name(sweep_path("47M_1024l_1e18flops_bsz250k_all0.02ep", "47M_flops"))
    assert (named.objective, named.size, named.axis, named.split) == (
        "clm",
        "47M",
        "gflops",
        "valid",
    )
    assert (named.flops, named.epochs, named.batch_rows) == (1e18, 0.02, 256)
    assert named.corpus == "unimeta200b"


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("data/training_logs/gpt_valid/approach4/run-x.csv", "fits no known pattern"),
        ("data/training_logs/mask_ratio_data/85M/mask_0.5.csv", "fits no known pattern"),
        (sweep_path("85M_1024l_1e19flops_dropout0.1"), "part 'dropout0.1'"),
    ],
)
def test_name_that_fits_no_pattern_is_refused_naming_it(path, fragment):
    with pytest.raises(RunsError, match=fragment) as caught:
        read_name(path)
    assert path in str(caught.value)


def test_corpus_in_the_name_outweighs_the_folder():
    folder = "data/training_logs/ur50_all1ep_valid_loss/ur50_mlm_3b/run-mlm_3b_"
    tag = "-tag-lm-loss-validation_valid_lm loss validation vs tokens.csv"
    assert read_name(f"{folder}all1ep_noreg{tag}").corpus == "unimeta200b"
    assert read_name(f"{folder}ur50_noreg{tag}").corpus == "ur50"
    assert read_name(f"{folder}overfit_bsz1m{tag}").corpus == "ur50"  # only the folder has it


@pytest.mark.parametrize("size", ["6M", "13M", "85M", "170M-wide", "280M", "609M", "736M", "880M"])
def test_axis_of_every_size_gives_tokens_and_n(size):
    n_params = SIZES[size].n_params
    name = {"13M": "10M", "170M-wide": "127M"}.get(size, size)
    evaluations = np.append(np.arange(1, 20), 19.5)
    curve = read_log(sweep_path(f"{name}_noreg_all1ep"), log(gflops(n_params, evaluations)))
    assert curve.size.name == size
    assert curve.axis.batch_rows == 512
    np.testing.assert_array_equal(curve.tokens, np.rint(evaluations * INTERVAL * 512))
    np.testing.assert_array_equal(curve.steps, np.rint(evaluations * 300))
    assert curve.axis.off_grid
    np.testing.assert_allclose(curve.flops, 6.0 * n_params * curve.tokens)


def test_axis_with_a_smaller_batch_is_recognised_without_the_name():
    path = sweep_path("85M_1024l_1e18flops", "85M_flops")
    curve = read_log(path, log(gflops(SIZES["85M"].n_params, np.arange(1, 9), rows=256)))
    assert (curve.size.name, curve.axis.batch_rows) == ("85M", 256)


def test_axis_with_the_n_of_another_model_is_corrected_when_the_named_budget_requires_it():
    """As in mlm 1.7B 1e21: logged with the N of 1.5B."""
    end = 1e21 / (6 * SIZES["1.7B"].n_params) / (INTERVAL * 1024)
    x = gflops(SIZES["1.5B"].n_params, np.arange(1, int(end) + 1), rows=1024)
    curve = read_log(sweep_path("1.7b_1024l_1e21flops", "1.7B_flops", "mlm"), log(x))
    assert curve.size.name == "1.7B"
    assert curve.flops[-1] == pytest.approx(1e21, rel=0.01)
    assert x[-1] * 1e9 < 0.87e21  # what the file says
    assert "FLOPs axis corrected" in curve.notes[0]


def test_axis_that_meets_the_named_budget_outweighs_the_named_size():
    end = 1e21 / (6 * SIZES["1.5B"].n_params) / (INTERVAL * 1024)
    x = gflops(SIZES["1.5B"].n_params, np.arange(1, int(end) + 1), rows=1024)
    curve = read_log(sweep_path("1.7b_1024l_1e21flops", "1.7B_flops", "mlm"), log(x))
    assert curve.size.name == "1.5B"


def test_axis_with_the_n_of_no_model_is_corrected_to_the_named_one():
    """As in mlm 1.2B all1ep: computed with N=1e9."""
    x = gflops(1e9, np.arange(1, 30), rows=1024)
    path = sweep_path("1b_all1ep_noreg_tk200b_bsz1m", "1.2B_flops", "mlm")
    curve = read_log(path, log(x))
    assert curve.size.name == "1.2B"
    assert curve.tokens[-1] == 29 * INTERVAL * 1024
    assert "computed with N=1e+09, of no model" in curve.notes[0]


def test_first_point_of_a_false_start_is_dropped():
    """As in mlm 550M 3e20: the first point carries the FLOPs of 470M at step 300."""
    true = gflops(SIZES["550M"].n_params, np.arange(1, 12))
    x = np.insert(true, 0, gflops(SIZES["470M"].n_params, 1))
    path = sweep_path("550M_1024l_3e20flops", "550M_flops", "mlm")
    value = np.linspace(2.9, 2.3, len(x))
    curve = read_log(path, log(x, value))
    assert curve.size.name == "550M"
    np.testing.assert_array_equal(curve.steps, 300 * np.arange(1, 12))
    np.testing.assert_array_equal(curve.loss, value[1:])
    assert "1 first point of another model dropped" in curve.notes


def test_axis_between_the_steps_is_refused():
    x = gflops(SIZES["85M"].n_params, np.arange(1, 12))
    x[5] += 0.0005 * x[0]  # 0.15 of a step
    with pytest.raises(RunsError, match="between the steps"):
        read_log(sweep_path("85M_1024l_1e19flops", "85M_flops"), log(x))


def test_perplexity_becomes_a_loss_and_a_wrong_name_is_refused():
    folder = "data/training_logs/ur50_all1ep_valid_loss/ur50_clm_3b/run-gpt_3b_ur50"
    ppl = f"{folder}-tag-lm-loss-validation_valid_lm loss validation ppl vs tokens.csv"
    x, value = np.arange(1, 11) * INTERVAL * 1024, np.linspace(18, 9, 10)
    np.testing.assert_allclose(read_log(ppl, log(x, value)).loss, np.log(value))
    with pytest.raises(RunsError, match=r"name says losses, but their median is 13\.5"):
        read_log(ppl.replace(" ppl", ""), log(x, value))
    with pytest.raises(RunsError, match="name says perplexities"):
        read_log(ppl, log(x, np.log(value)))


def test_samples_axis_of_a_training_log_counts_rows_of_1024_tokens():
    path = (
        "data/training_logs/ur50_all1ep_training_loss/ur50_mlm_150M/"
        "run-mlm_154M_ur50-tag-lm-loss-training_lm loss vs samples.csv"
    )
    curve = read_log(path, log([19456, 51200, 133632, 140800, 512000]))
    assert curve.named.split == "train"
    assert curve.tokens[0] == 19456 * 1024
    assert curve.steps[0] == 38


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"Wall time,Step,Loss\n1,2,3\n", "columns are"),
        (b"Wall time,Step,Value\n1,two,3\n", "not a table of numbers"),
        (log([1, 2, 3, 4, 4, 5]), "rising Step"),
        (log([1, 2, 3, 4, 5], [2.0, 2.0, np.nan, 2.0, 2.0]), "finite Value"),
    ],
)
def test_damaged_log_is_refused_naming_it(content, fragment):
    path = sweep_path("85M_1024l_1e19flops", "85M_flops")
    with pytest.raises(RunsError, match=fragment) as caught:
        read_log(path, content)
    assert path in str(caught.value)


def test_same_losses_on_another_axis_are_the_same_run_and_a_rerun_is_not():
    evaluations = np.arange(1, 40)
    x, loss = gflops(SIZES["230M"].n_params, evaluations), 2.0 + 0.9 * evaluations**-0.3
    one = read_log(sweep_path("230M_1024l_3e19flops", "230M_flops"), log(x, loss))
    tokens = sweep_path("230M_1024l_3e19flops", "230M_flops").replace(
        "gigaflos (without embeddings)", "tokens"
    )
    sub_sampled = np.delete(evaluations, np.s_[3::5])
    other = read_log(
        tokens, log(sub_sampled * INTERVAL * 512, np.float32(loss[sub_sampled - 1]).astype(float))
    )
    noise = np.random.default_rng(0).normal(0, 0.003, len(loss))
    rerun = read_log(sweep_path("230M_1024l_3e19flops", "230M_flops"), log(x, loss + noise))
    assert same_run(one, other)
    assert not same_run(one, rerun)
