"""`plm-scaling watch`: a study on a page that follows it."""

import platform
from contextlib import suppress
from pathlib import Path

from plm_scaling.common.errors import WatchError


def watch(study: Path = Path(), /, *, port: int | None = None) -> None:
    """A page on this machine that follows a study: its stages, cells, curves, law so far, failures.

    It reads the study's files and changes nothing; Ctrl-C ends it. Nobody else's machine can reach
    it; from your own, of a study on a server: ssh -L 8765:127.0.0.1:8765 SERVER.

    Example: plm-scaling watch my-study

    Args:
        study: folder of a study, or results folder
        port: port of the address (default: 8765, or a free one)
    """
    from plm_scaling.watch.places import NO_FOLDER, find_places
    from plm_scaling.watch.server import Server

    if not study.is_dir():
        raise WatchError(f"{study}: {NO_FOLDER}")
    (place,) = find_places([study])
    with Server(place, port) as server, suppress(KeyboardInterrupt):
        number = server.server_address[1]
        print(f"{server.address} follows {study.absolute()} until you press Ctrl-C", flush=True)
        print(
            f"from another machine: ssh -L {number}:127.0.0.1:{number} {platform.node()}",
            flush=True,
        )
        server.serve_forever()
