"""`millrace serve`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from millrace.cli.options import a_port, command, open_wiring


def add(commands: Any) -> None:
    """The grammar of this command."""
    serve = command(commands, "serve", "answer predictions over HTTP, following the environment's releases", run_server)
    serve.add_argument("model", nargs="?", help="which model (needed when there are several)")
    serve.add_argument("--host", help="address to bind (default: the environment's server, else loopback)")
    serve.add_argument(
        "--port", type=a_port, help="port to bind; 0 takes a free one (default: the environment's, else 8000)"
    )
    serve.add_argument("--follow", type=int, metavar="PID", help="end when this process, which started it, has ended")
    serve.add_argument("--ready-file", type=Path, metavar="FILE", help="written with the URL when requests are taken")


def run_server(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from millrace.flow.serve import make_server

    if options.env is None and "MILLRACE_ENVIRONMENT" not in os.environ:
        options.env = "production"  # releases are made for staging and production; nobody serves "development"
    wiring = open_wiring(options)
    model = wiring.project.get_model(options.model)
    server = make_server(
        wiring,
        model.name,
        host=options.host,
        port=options.port,
        ready_file=options.ready_file,
        on_ready=lambda url: print(f"{model.name} in {wiring.environment.name}: {url}", file=sys.stderr, flush=True),
    )
    if options.follow is not None:
        threading.Thread(target=_follow, args=(options.follow,), daemon=True).start()
    server.run()
    return 0


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
