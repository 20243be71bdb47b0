"""A report on a local address, for machines whose browser cannot open files (a container, WSL)."""

import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dgprune.errors import DgpruneError
from dgprune.progress import Progress

_HOST = "127.0.0.1"  # nobody else's: records hold paths and names


class _Quiet(SimpleHTTPRequestHandler):
    """Files of one folder, to whoever asked for this host by name, without a log line each."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address is all that a user needs."""

    def send_head(self) -> Any:
        """Refuses a page of another site that reached this port by a name of its own."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host not in (_HOST, "localhost"):
            self.send_error(403)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Asks the browser to keep nothing: a report is made again at the same address."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


def serve(page: Path, progress: Progress, port: int = 0, *, show: bool = True) -> None:
    """Serves the folder of `page` until Ctrl-C, and shows the page in a browser.

    `port` 0 is any that is free. Raises DgpruneError where the port is taken.
    """
    handler = partial(_Quiet, directory=str(page.parent))
    try:
        server = ThreadingHTTPServer((_HOST, port), handler)
    except (OSError, OverflowError) as error:
        raise DgpruneError(f"port {port} cannot be used ({error}); choose another --port") from None
    with server:
        address = f"http://{_HOST}:{server.server_address[1]}/{page.name}"
        try:
            progress.line(f"serving {address} (Ctrl-C ends it)")
            if show:
                webbrowser.open(address)
            server.serve_forever()
        except KeyboardInterrupt:
            progress.line("stopped")
