"""The plot is drawn, also from a run that ended at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from demo.observation import Snapshot, Window
from demo.plot import draw
from demo.story import Event


def test_a_run_becomes_an_svg_and_a_png(tmp_path: Path) -> None:
    window = Window("daily", Decimal("0.1"), Decimal("0.4"), 25, 0)
    snapshots = [Snapshot(second, 10, 8, 1, 2, 1, 2, "", (window,), {}, {}) for second in range(5)]
    paths = draw(snapshots, [Event(2, "an event")], concurrency=4, scale_down_percent=95, folder=tmp_path)
    assert [path.name for path in paths] == ["demo.svg", "demo.png"]
    assert "an event" in paths[0].read_text(encoding="utf-8") or paths[0].stat().st_size > 1000
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_a_budget_that_was_not_read_yet_leaves_a_gap(tmp_path: Path) -> None:
    snapshots = [Snapshot(second, 0, 0, 0, 0, 0, 0, "", (), {}, {}) for second in range(2)]
    assert draw(snapshots, [], concurrency=4, scale_down_percent=95, folder=tmp_path)
