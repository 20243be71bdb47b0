"""`dgprune report --serve`: the report on a local address, and nothing else."""

import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.progress import SILENT
from reports.serve import serve

START = """
import sys
from pathlib import Path
from dgprune.progress import progress_for
from reports.serve import serve
serve(Path(sys.argv[1]), progress_for(quiet=False), show=False)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("<p>seen")
    (tmp_path / "secret.txt").write_text("not for you")
    command = [sys.executable, "-c", START, str(tmp_path / "out" / "report.html")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        yield process, int(line.split("127.0.0.1:")[1].split("/")[0])
        process.kill()


def ask(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_is_served_and_nothing_outside_of_its_folder(
    served: tuple[subprocess.Popen[str], int],
) -> None:
    _, port = served
    assert ask(port, "/report.html") == (200, b"<p>seen")
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"):
        status, body = ask(port, path)
        assert status == 404 and b"not for you" not in body


def test_a_page_of_another_site_cannot_read_it(served: tuple[subprocess.Popen[str], int]) -> None:
    _, port = served
    assert ask(port, "/report.html", f"evil.example:{port}")[0] == 403
    assert ask(port, "/report.html", f"localhost:{port}")[0] == 200


def test_ctrl_c_ends_it_without_a_traceback(served: tuple[subprocess.Popen[str], int]) -> None:
    process, _ = served
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(DgpruneError, match="choose another --port"):
            serve(tmp_path / "report.html", SILENT, taken.getsockname()[1], show=False)
    with pytest.raises(DgpruneError, match="choose another --port"):
        serve(tmp_path / "report.html", SILENT, 70000, show=False)


def test_the_browser_is_asked_to_show_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def opened(address: str) -> bool:
        shown.append(address)
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", opened)
    serve(tmp_path / "report.html", SILENT)
    assert shown[0].startswith("http://127.0.0.1:") and shown[0].endswith("/report.html")
