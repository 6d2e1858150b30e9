"""The programs of a workflow as forks of a process that has imported what they need.

A cell of the tests trains for a second, but imports PyTorch and megatron-core for six. `folder` is
one for PATH, whose `python` asks the process that serves here for a fork that runs its script, and
is Python itself if it is asked for anything else. As in any start, the script's own library is
imported anew. Figures of a study are drawn as SVG alone.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

LENGTH_BYTES = 8
# torch._dynamo: any optimizer of PyTorch's imports it when it is made, for two seconds.
IMPORTS = """
cyclopts.help docstring_parser jinja2 psutil pydantic.type_adapter pandas pyarrow.parquet
pyarrow.compute scipy.optimize scipy.stats matplotlib.pyplot matplotlib.backends.backend_pdf
matplotlib.backends.backend_svg torch._dynamo
"""

CLIENT = """#!{python} -ESs
import json, os, signal, socket, sys
if len(sys.argv) < 2 or not sys.argv[1].endswith(".py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
text = json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
socket.send_fds(server, [len(text).to_bytes({length_bytes}, "little")], [0, 1, 2])
server.sendall(text)
answers = server.makefile()
program = int(answers.readline())
passed_on = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
for number in passed_on:
    signal.signal(number, lambda number, frame: os.kill(program, number))
code = int(answers.readline())
if code < 0:
    for number in passed_on:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def folder() -> Path:
    """A copy of this Python's folder of programs whose `python` forks; it ends with this one."""
    # In a folder with a short name, as that of a socket must be.
    holder = tempfile.TemporaryDirectory(prefix="programs", dir="/tmp")
    path, address = Path(holder.name), f"{holder.name}/server.socket"
    for program in Path(sys.executable).parent.iterdir():
        (path / program.name).symlink_to(program)
    client = CLIENT.format(python=sys.executable, address=address, length_bytes=LENGTH_BYTES)
    (path / "python").unlink()
    (path / "python").write_text(client)
    (path / "python").chmod(0o755)
    command, pipe = [sys.executable, __file__, address], subprocess.PIPE
    server = subprocess.Popen(command, stdin=pipe, stdout=pipe)
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stdout.readline() == b"serving\n"

    @atexit.register
    def end() -> None:
        server.communicate()
        holder.cleanup()

    return path


def imported() -> None:
    """What most programs need, and of this repository's own nothing."""
    for name in IMPORTS.split():
        importlib.import_module(name)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    importlib.import_module("plm_scaling.train.distributed.megatron").import_megatron()
    del sys.path[0]
    for name in [name for name in sys.modules if name.split(".")[0] == "plm_scaling"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # what each fork would look at once more when it ends, for a second


def client_of(address: str) -> socket.socket:
    """Returns in a fork for each client."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        os.write(1, b"serving\n")
        while 0 not in select.select([0, listening], [], [])[0]:  # until whom it serves has ended
            client = listening.accept()[0]
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return client
            client.close()
    sys.exit()


def program_of(client: socket.socket) -> str:
    """Returns in another fork, which is as a start of the script is; this one says its end."""
    length, files, *_ = socket.recv_fds(client, LENGTH_BYTES, 3)
    with client.makefile("rb") as stream:
        text = stream.read(int.from_bytes(length, "little"))
    working_folder, arguments, environment = json.loads(text)
    if program := os.fork():
        client.sendall(f"{program}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        client.sendall(f"{code}\n".encode())
        os._exit(0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(working_folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    libraries = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:1] = [str(Path(arguments[0]).parent), *filter(None, libraries)]
    if Path(arguments[0]).name in ("draw_figures.py", "draw_downstream.py"):
        only_svg()
    return str(arguments[0])


class Undrawn:
    """A canvas whose file is empty."""

    def __init__(self, figure: object) -> None:
        pass

    def print_pdf(self, path: Path, metadata: object) -> None:
        path.touch()

    print_png = print_pdf


def only_svg() -> None:
    """Draw what a page shows, a third of the time that every format takes. Those of the published
    runs are drawn in all of them."""
    style = importlib.import_module("plm_scaling.figures.parts.style")
    style.CANVASES.update(pdf=Undrawn, png=Undrawn)


if __name__ == "__main__":
    imported()
    runpy.run_path(program_of(client_of(sys.argv[1])), run_name="__main__")
