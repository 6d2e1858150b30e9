"""The filter's reference model may be a public CLM; its folder is an input of the scores."""

from public_models import progen2_folder


def test_folder_of_a_public_model_is_the_reference_model(fresh):
    progen2_folder(fresh.folder / "progen2")
    fresh.config["filter"]["model"] = "progen2"
    scores = f"data/{fresh.config['data']['name']}/scores/part-0000.parquet"
    jobs, text = fresh.plan(scores)
    assert jobs["score_part"] == 1
    assert "train_reference" not in jobs
    assert "progen2/config.json" in text
    (fresh.folder / "progen2/config.json").unlink()
    done = fresh.run("--dry-run", scores, check=False)
    assert done.returncode == 1
    assert "progen2/result.json" in done.stdout + done.stderr
