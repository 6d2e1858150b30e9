"""The server answers this machine alone, only reads, and builds what it says from the files."""

import json
import socket
import time
from http.client import HTTPConnection

import pytest
import watched
from watched import serving

from plm_scaling.cli.main import main
from plm_scaling.common.errors import WatchError
from plm_scaling.watch.places import Place
from plm_scaling.watch.server import Server


def ask(server, path="/", method="GET", **headers):
    """Status, headers and content of an answer."""
    connection = HTTPConnection(*server.server_address, timeout=600)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with watched.write_half_done(folder), serving(folder) as server:
        server.folder = folder
        yield server


def test_state_holds_the_curves_of_the_cells_that_are_asked_for(server):
    known, unknown = f"demo/{watched.RUNNING}", "demo/../../etc"
    status, _, content = ask(server, f"/state.json?curves={known},{unknown}")
    assert status == 200
    curves = json.loads(content)["curves"]
    assert [*curves] == [known]
    assert all(curves[known][name] for name in ("train", "valid", "forecast"))


def test_what_did_not_change_is_not_sent_again_and_what_did_is(server):
    past = time.time() - 3600  # nothing trains: what is left does not change by itself
    results = server.folder / "results/demo"
    watched.write_running(results, watched.RUNNING, past)
    _, headers, content = ask(server, "/state.json")
    again = {"If-None-Match": headers["ETag"]}
    assert ask(server, "/state.json", **again)[::2] == (304, b"")
    watched.write_running(results, watched.RUNNING, past, share=0.75)
    status, later, changed = ask(server, "/state.json", **again)
    assert status == 200
    assert later["ETag"] != headers["ETag"]
    assert (
        json.loads(changed)["studies"][0]["share_done"]
        > json.loads(content)["studies"][0]["share_done"]
    )


def test_nothing_but_get_of_page_and_state(server):
    assert ask(server, "/results/demo/sweep.tsv")[0] == 404
    assert ask(server, "/../../etc/passwd")[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "/", method)[0] == 501


def test_a_site_whose_name_points_here_is_refused(server):
    port = server.server_address[1]
    for name in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
        assert ask(server, "/state.json", Host=name)[0] == 403
    for name in (f"localhost:{port}", "127.0.0.1:9999"):  # a forwarded port may be another
        assert ask(server, "/", Host=name)[0] == 200


def test_other_machines_cannot_reach_it(server):
    assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.server_address[1]), timeout=5)


def test_the_page_loads_nothing_from_elsewhere(server):
    _, headers, content = ask(server)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = content.decode().replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page


def test_a_port_in_use_is_an_error_that_says_so(server, tmp_path):
    port = server.server_address[1]
    with pytest.raises(WatchError, match=f"--port {port}: Address already in use; give another"):
        Server(Place(tmp_path), port)


def test_without_a_port_a_free_one_is_taken(server, tmp_path, monkeypatch):
    monkeypatch.setattr("plm_scaling.watch.server.PORT", server.server_address[1])
    with Server(Place(tmp_path)) as other:
        assert other.server_address[1] not in (0, server.server_address[1])


def test_command_says_the_address_and_ends_quietly(server, monkeypatch, capsys):
    """Of a folder that is not there it says so."""

    def interrupted(served, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", interrupted)
    monkeypatch.setattr("sys.argv", ["plm-scaling", "watch", str(server.folder), "--port", "0"])
    main()
    said = capsys.readouterr().out
    assert said.startswith("http://127.0.0.1:")
    assert str(server.folder) in said
    monkeypatch.setattr("sys.argv", ["plm-scaling", "watch", str(server.folder / "no")])
    with pytest.raises(SystemExit, match=r"error: .*/no: no such folder; give"):
        main()
