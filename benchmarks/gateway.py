"""How does the runtime compare with other gateways on this machine?

Starts a Redis and hands the runtime, once without and once with repeated prompts, to the neutral comparer whose folder
the environment variable GATEWAY_BENCH names (``compare.py``, ``bin/modelsim``, ``bin/loadgen``). Other arguments go to
the comparer: ``--rounds 3 --suites latency,throughput,stream,cache --peers direct,aiohttp-pass``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-benchmark"

CONFIG = """
models:
  - {{name: sim-small, endpoint: {upstream}/v1, price: {{inputPerMillion: "2.5", outputPerMillion: "10"}}}}
  - {{name: sim-embed, kind: embeddings, endpoint: {upstream}/v1, price: {{inputPerMillion: "0.02"}}}}
connections: {{total: 4096, perHost: 4096}}
limits: {{maxQueued: 10000}}
"""

START = """
import os, sys
upstream, port, config = sys.argv[1:]
open(config, "w").write({config!r}.format(upstream=upstream))
os.environ["AGENTPOOL_PORT"] = port
os.execv(sys.executable, [sys.executable, "-m", "agent_runtime", "--config", config])
"""


def main() -> int:
    """Exit code of the comparer; 2 when something it needs is missing."""
    bench = os.environ.get("GATEWAY_BENCH", "")
    comparer = Path(bench) / "compare.py"
    redis = shutil.which("redis-server")
    if not bench or not comparer.exists() or not (Path(bench) / "bin" / "modelsim").exists():
        print("set GATEWAY_BENCH to a folder with compare.py, bin/modelsim and bin/loadgen (see docs/runtime.md)")
        return 2
    if redis is None:
        print("redis-server is not installed: run make install")
        return 2
    with tempfile.TemporaryDirectory(prefix="gateway-") as scratch:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([redis, *options], cwd=scratch, stdout=subprocess.DEVNULL)
        try:
            peers = [arg for cache in (False, True) for arg in ("--peer", json.dumps(peer(scratch, port, cache=cache)))]
            return subprocess.run([sys.executable, str(comparer), *peers, *sys.argv[1:]], check=False).returncode
        finally:
            server.terminate()
            server.wait(5)


def peer(scratch: str, redis_port: int, *, cache: bool) -> dict[str, object]:
    """The runtime as the comparer starts it; ``cache`` marks the one that gets the same prompt again and again."""
    name = "agentpool-cache" if cache else "agentpool"
    secret = Path(scratch) / name / f"{name}-key"
    secret.mkdir(parents=True)
    (secret / "key").write_text(KEY)
    start = Path(scratch) / f"{name}.py"
    start.write_text(START.format(config=CONFIG))
    config = Path(scratch) / f"{name}.yaml"
    return {
        "name": name,
        "cmd": shlex.join([sys.executable, str(start)]) + f" ${{upstream}} ${{port}} {shlex.quote(str(config))}",
        "health": "/readyz",
        "key": KEY,
        "cache": cache,
        "env": {
            "PYTHONPATH": str(ROOT),
            "AGENTPOOL_POOL": name,
            "AGENTPOOL_CONCURRENCY": "4096",
            "AGENTPOOL_SECRETS_DIR": str(secret.parent),
            "AGENTPOOL_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        },
    }


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
