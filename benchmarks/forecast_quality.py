"""Prints the forecast's quality one hour ahead over the last two days of recorded traffic.

    python -m benchmarks.forecast_quality --traces DIR

DIR holds what the replay simulator reads (meta.json and one file of counts per trace); `replay` must be importable. The
seasonal-naive forecast (the same time yesterday) gets the same online calibration.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from replay import load_trace

from agentpool_operator.decide.forecast import make_forecast
from agentpool_operator.decide.history import MINUTES, History, seed


def minutes_of(trace: object) -> np.ndarray:
    """Arrivals of every minute of a trace, history and scored part."""
    seconds = np.bincount(trace.arrivals.astype(int), minlength=trace.duration)[: trace.duration // 60 * 60]
    return np.concatenate([trace.history, seconds.reshape(-1, 60).sum(1)])


def main() -> None:
    """Prints one line per trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", required=True)
    options = parser.parse_args()
    print(
        f"{'trace':28}{'WAPE':>7}{'naive':>7}{'last':>7}{'coverage':>10}{'pinball':>9}{'naive':>9}{'ready':>7}{'ms':>6}"
    )
    for name in sorted(json.loads((Path(options.traces) / "meta.json").read_text())):
        trace = load_trace(options.traces, name, 1, 86_400)
        end_s = trace.eval_from + trace.duration // 60 * 60
        history = seed(History(end_s=end_s), minutes_of(trace)[-MINUTES:].tolist(), now_s=end_s)
        make_forecast(history)  # the first call loads code; it is not what a decision costs
        started = time.perf_counter()
        forecast = make_forecast(history)
        took_ms = 1000 * (time.perf_counter() - started)
        if forecast is None:
            print(f"{name:28}  too short a history for a forecast")
            continue
        print(
            f"{name:28}{forecast.wape:7.3f}{forecast.naive_wape:7.3f}{forecast.last_wape:7.3f}{forecast.coverage:10.3f}"
            f"{forecast.pinball:9.4f}{forecast.naive_pinball:9.4f}{forecast.ready!s:>7}{took_ms:6.1f}"
        )


if __name__ == "__main__":
    main()
