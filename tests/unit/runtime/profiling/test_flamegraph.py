from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.profiling.flamegraph import MARGIN, WIDTH, flamegraph

SVG = "{http://www.w3.org/2000/svg}"
names = st.text(max_size=30)
profiles = st.dictionaries(st.lists(names, max_size=6).map(tuple), st.floats(0, 1e9), max_size=20)


def boxes(svg: str) -> dict[str, tuple[float, float, float]]:
    """What a box is titled: left, top and width."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None and title.text is not None and rect is not None
        found[title.text] = (float(rect.attrib["x"]), float(rect.attrib["y"]), float(rect.attrib["width"]))
    return found


def test_a_function_is_as_wide_as_its_share_and_lies_on_its_caller() -> None:
    drawn = boxes(flamegraph({("main", "a"): 30.0, ("main", "b"): 10.0, ("main",): 40.0}, title="t", unit="ms"))
    whole = WIDTH - 2 * MARGIN
    assert drawn["main: 80 ms, 100.0%"][2] == whole
    left, top, width = drawn["a: 30 ms, 37.5%"]
    assert (left, width) == (MARGIN, round(whole * 0.375, 1))
    assert top < drawn["main: 80 ms, 100.0%"][1] < drawn["all: 80 ms, 100.0%"][1]
    assert drawn["b: 10 ms, 12.5%"][0] == left + width


def test_names_cannot_break_out_of_the_picture() -> None:
    svg = flamegraph({('</title><script>x()</script>&"', "\x00\x1b\ud800"): 1.0}, title="<b>&", unit="ms")
    assert "<script" not in svg and "<b>" not in svg
    assert '</title><script>x()</script>&": 1 ms, 100.0%' in boxes(svg)
    svg.encode()


def test_without_any_work_it_says_so() -> None:
    assert "nothing was running" in flamegraph({}, title="idle", unit="ms")
    assert "nothing was running" in flamegraph({("a",): 0.0}, title="idle", unit="ms")
    assert "nothing was running" in flamegraph({(): 5e-324}, title="idle", unit="ms")


@given(profiles)
def test_any_profile_becomes_a_picture_whose_boxes_stay_inside(profile: dict[tuple[str, ...], float]) -> None:
    for left, top, width in boxes(flamegraph(profile, title="t", unit="ms")).values():
        assert left >= MARGIN - 0.1 and top >= 0
        assert left + width <= WIDTH - MARGIN + 0.5
