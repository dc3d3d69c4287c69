"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

from tests.abandoned import end_abandoned, mark

# Neither a deadline per example nor one for making them: a busy machine is no defect. On CI the examples are the same
# in every run, so that a change is judged by what it does and not by chance; everywhere else new ones are looked for.
settings.register_profile(
    "agentpool",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("agentpool")


def pytest_sessionstart() -> None:
    end_abandoned()
    mark()
