"""`millrace features serve`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from millrace.cli.options import a_port, command, open_wiring


def add_serve(verbs: Any) -> None:
    """The grammar of this command, under `millrace features`."""
    serve = command(verbs, "serve", "answer features over HTTP, as Feast's feature server does", run_server)
    serve.add_argument("--host", default="127.0.0.1", help="address to bind (default: loopback)")
    serve.add_argument(
        "--port", type=a_port, default=6566, help="port to bind; 0 takes a free one (default: 6566, Feast's)"
    )
    serve.add_argument("--ready-file", type=Path, metavar="FILE", help="written with the URL when requests are taken")


def run_server(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from millrace.flow.serve_features import FeatureServer

    wiring = open_wiring(options)
    try:
        FeatureServer(
            wiring,
            host=options.host,
            port=options.port,
            ready_file=options.ready_file,
            on_ready=lambda url: print(
                f"features of {wiring.environment.name}: {url}/get-online-features", file=sys.stderr, flush=True
            ),
        ).run()
    finally:
        wiring.close()
    return 0
