"""``python -m agent_runtime --config runtime.yaml``"""

from __future__ import annotations

import argparse
import os
import sys

import uvloop

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import load_process, load_settings
from agent_runtime.telemetry.logs import set_up_logs
from agentpool_api.runtime_settings import CONFIG_PATH


def main() -> int:
    """Run until told to stop; 0 after a drain, 2 when a setting is bad."""
    parser = argparse.ArgumentParser(prog="python -m agent_runtime", description="The agent runtime of agentpool.")
    parser.add_argument("--config", default=CONFIG_PATH, help="RuntimeSettings as YAML or JSON (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        process = load_process(os.environ)
        set_up_logs(process.log_format, {"pod": process.pod, "pool": process.pool})
        settings = load_settings(arguments.config, refuse_unknown=not process.in_cluster)
        from agent_runtime.app import run

        uvloop.run(run(settings, process))
    except RuntimeSetupError as error:
        print(f"agent_runtime: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
