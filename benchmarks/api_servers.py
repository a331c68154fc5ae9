"""The servers of the API's benchmark: a program of ours with its own settings, and a bare one with constant bytes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks.api_clients import Connection
from benchmarks.asked import CannotMeasure
from benchmarks.harness import Disagreement
from benchmarks.scratch import ROOT, end
from collector.clock import SystemClock

CLOCK = SystemClock()
START_S = 60.0
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@contextmanager
def server(folder: Path, name: str, command: list[str]) -> Iterator[int]:
    """Lend a process of ours by the port that it says it listens on."""
    log = folder / f"{name}.log"
    own = {key: value for key, value in os.environ.items() if not key.startswith("COLLECTOR_")}
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=own, cwd=ROOT, process_group=0
        ) as process,
    ):
        try:
            give_up_at = time.perf_counter() + START_S
            while not (found := ADDRESS.search(log.read_text())):
                if process.poll() is not None or time.perf_counter() > give_up_at:
                    raise CannotMeasure(f"the server {name} does not listen: {log.read_text()[-500:]}")
                CLOCK.sleep(0.05)
            yield int(found[1])
        finally:
            end(process)


@contextmanager
def program(folder: Path, name: str, tree: dict[str, Any], *words: str) -> Iterator[int]:
    """Lend `python main.py <words>` with the shipped settings and `tree` laid over them."""
    config, shipped = folder / f"{name}.yaml", yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config.write_text(yaml.safe_dump(laid_over(shipped, tree)))
    with server(folder, name, [sys.executable, str(ROOT / "main.py"), "--config", str(config), *words]) as port:
        yield port


def laid_over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{name: laid_over(below.get(name), value) for name, value in above.items()}}


@contextmanager
def constant(folder: Path, name: str, body: bytes) -> Iterator[int]:
    """Lend a server of the API's kind that sends these bytes at /constant."""
    file = folder / f"{name}.json"
    file.write_bytes(body)
    with server(folder, name, [sys.executable, "-m", "benchmarks.api_servers", str(file)]) as port:
        with closing(Connection(port, "/constant")) as one:
            if one.ask() != body:
                raise Disagreement("the bare route sends other bytes than the API")
        yield port


def serve_bare(body: Path) -> None:
    """Serve the bytes of a file at /constant, with the server of the API and nothing else."""
    from fastapi import FastAPI, Response  # noqa: PLC0415 - only this process needs them

    from collector.api.serve import address, listen, serve  # noqa: PLC0415

    app, content = FastAPI(), body.read_bytes()

    @app.get("/constant")
    async def constant() -> Response:
        return Response(content, media_type="application/json")

    with listen("127.0.0.1", 0) as listening:
        serve(app, listening, streams=500, started=lambda _: print(address(listening), flush=True))


if __name__ == "__main__":
    serve_bare(Path(sys.argv[1]))
