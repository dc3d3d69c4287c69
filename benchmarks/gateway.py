"""How does the runtime compare with other gateways on this machine?

Starts a Redis and hands the runtime to the neutral comparer whose folder the environment variable GATEWAY_BENCH names
(``compare.py``, ``bin/modelsim``, ``bin/loadgen``). VARIANTS names what of the runtime is compared (default
``agentpool,agentpool-cache``). Other arguments go to the comparer: ``--rounds 3 --suites
latency,throughput,stream,cache --peers direct,aiohttp-pass``.
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
VARIANTS = {
    "agentpool": "everything on: authentication, settlement in Redis, exact cache, metrics",
    "agentpool-cache": "the same, given the same prompt again and again",
    "agentpool-unaccounted": "without Redis: no settlement, no shared cache",
    "agentpool-two": "two processes on one port: two pods of a pool, without the Service before them",
    "agentpool-semantic": "with the semantic cache on; needs build/encoder (make encoder)",
}

CONFIG = """
models:
  - {{name: sim-small, endpoint: {upstream}/v1, price: {{inputPerMillion: "2.5", outputPerMillion: "10"}}}}
  - {{name: sim-embed, kind: embeddings, endpoint: {upstream}/v1, price: {{inputPerMillion: "0.02"}}}}
connections: {{total: 4096, perHost: 4096}}
limits: {{maxQueued: 10000}}
"""
SEMANTIC = "cache: {{semantic: {{enabled: true}}}}\n"

START = """
import os, sys
upstream, port, config = sys.argv[1:]
open(config, "w").write({config!r}.format(upstream=upstream))
os.environ["AGENTPOOL_PORT"] = port
os.execv(sys.executable, [sys.executable, "-m", "agent_runtime", "--config", config])
"""

START_TWO = """
import os, runpy, sys, uvloop
upstream, port, config = sys.argv[1:]
open(config, "w").write({config!r}.format(upstream=upstream))
os.environ["AGENTPOOL_PORT"] = port
listen = uvloop.Loop.create_server
uvloop.Loop.create_server = lambda loop, *where, **how: listen(loop, *where, reuse_port=True, **how)
os.environ["AGENTPOOL_POD"] = "second" if os.fork() else "first"
sys.argv = ["agent_runtime", "--config", config]
runpy.run_module("agent_runtime", run_name="__main__", alter_sys=True)
"""


def main() -> int:
    """Exit code of the comparer; 2 when something it needs is missing."""
    bench = os.environ.get("GATEWAY_BENCH", "")
    comparer = Path(bench) / "compare.py"
    redis = shutil.which("redis-server")
    variants = os.environ.get("VARIANTS", "agentpool,agentpool-cache").split(",")
    if unknown := set(variants) - set(VARIANTS):
        print(f"unknown variant {', '.join(sorted(unknown))}; choose from {', '.join(VARIANTS)}")
        return 2
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
            peers = [arg for name in variants for arg in ("--peer", json.dumps(peer(scratch, port, name)))]
            return subprocess.run([sys.executable, str(comparer), *peers, *sys.argv[1:]], check=False).returncode
        finally:
            server.terminate()
            server.wait(5)


def peer(scratch: str, redis_port: int, name: str) -> dict[str, object]:
    """One of ``VARIANTS`` as the comparer starts it."""
    secret = Path(scratch) / name / f"{name}-key"
    secret.mkdir(parents=True)
    (secret / "key").write_text(KEY)
    semantic = name == "agentpool-semantic"
    start = Path(scratch) / f"{name}.py"
    script = START_TWO if name == "agentpool-two" else START
    start.write_text(script.format(config=CONFIG + (SEMANTIC if semantic else "")))
    config = Path(scratch) / f"{name}.yaml"
    env = {
        "PYTHONPATH": str(ROOT),
        "AGENTPOOL_POOL": name,
        "AGENTPOOL_CONCURRENCY": "4096",
        "AGENTPOOL_SECRETS_DIR": str(secret.parent),
    }
    if name != "agentpool-unaccounted":
        env["AGENTPOOL_REDIS_URL"] = f"redis://127.0.0.1:{redis_port}/0"
    if semantic:
        env["AGENTPOOL_ENCODER_DIR"] = str(ROOT / "build" / "encoder")
    return {
        "name": name,
        "cmd": shlex.join([sys.executable, str(start)]) + f" ${{upstream}} ${{port}} {shlex.quote(str(config))}",
        "health": "/readyz",
        "key": KEY,
        "cache": name == "agentpool-cache",
        "env": env,
    }


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
