"""What training leaves is what is opened and exported."""

import pytest
import torch
from corpora import write_corpus
from training import result_of, small_cell, trained

from plm_scaling.inference.export import export_cell
from plm_scaling.inference.run import open_run
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.evaluate import held_out, loss_sums, mean_losses
from plm_scaling.train.model.losses import model_losses


@pytest.mark.parametrize(("objective", "recipe"), [("clm", "prenorm"), ("mlm", "study")])
def test_opened_run_has_the_losses_of_its_record(root, tmp_path, objective, recipe):
    manifest = write_corpus(tmp_path / "corpus")
    cell = small_cell(root, objective, recipe=recipe)
    record, _ = trained(cell, manifest, tmp_path)
    folder = result_of(cell, tmp_path).parent
    sets = held_out(TokenCorpus.open(manifest), cell)
    with open_run(folder, 1) as run:
        sums = torch.stack(
            [
                loss_sums(model_losses(run.network, batch), batch, groups, len(sets.names))
                for batch, groups in sets.batches
            ]
        )
        assert mean_losses(sets, sums.sum(0)) == pytest.approx(record["held_out_losses"])
    export_cell(str(folder), tmp_path / "hf", threads=1)
    card = (tmp_path / "hf/README.md").read_text()
    for name, loss in record["held_out_losses"].items():
        assert f"| {name} | {loss:.4f} |" in card
    for fact in (
        cell.cell,
        record["data_sha256"],
        f"{record['tokens']:,}",
        record["versions"]["torch"],
    ):
        assert fact in card
