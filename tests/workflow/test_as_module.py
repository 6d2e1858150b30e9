"""Another workflow takes this one as a module (config/README.md)."""

import re
from dataclasses import dataclass

import pytest
from workflows import Workflow, tiny_config

MODULE = """
configfile: "config.yaml"

module plm_scaling:
    snakefile: "{root}/Snakefile"
    config: config

use rule * from plm_scaling
"""


@dataclass
class OtherWorkflow(Workflow):
    """A workflow in a folder of its own, whose only rules are those of the module."""

    def words(self, arguments):
        """No config on the command line: it is the outer workflow's."""
        self.write_config()
        self.folder.joinpath("Snakefile").write_text(MODULE.format(root=self.root))
        snakefile = ["--snakefile", self.folder / "Snakefile", "--directory", self.folder]
        return [*map(str, [*arguments, *self.how(), *snakefile])]


@pytest.mark.slow
def test_a_module_plans_the_same_jobs_by_the_programs_beside_it(root, tiny_sources, tmp_path):
    output = {}
    for kind in (Workflow, OtherWorkflow):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        output[kind] = kind(root, folder, tiny_config(root, tiny_sources)).run("-n", "-p").stdout

    def jobs(kind: type[Workflow]) -> list[str]:
        return sorted(re.findall(r"^(?:local)?rule (\w+):$", output[kind], re.MULTILINE))

    assert "train_cell" in jobs(Workflow)
    assert jobs(OtherWorkflow) == jobs(Workflow)
    programs = re.findall(r"python (\S+/scripts/)", output[OtherWorkflow])
    assert set(programs) == {f"{root}/scripts/"}
