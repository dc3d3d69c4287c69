import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.assembly import stream_of, whole_answer
from agent_runtime.models.sse import data_frame, split_frames

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

CHOICES = st.lists(
    st.fixed_dictionaries(
        {
            "content": st.none() | st.text(max_size=20),
            "finish_reason": st.sampled_from(["stop", "length", "tool_calls"]),
            "tool_calls": st.none() | st.lists(st.just(TOOL_CALL), min_size=1, max_size=2),
        }
    ),
    min_size=1,
    max_size=3,
)


def completion(choices: list[dict]) -> bytes:
    made = []
    for index, choice in enumerate(choices):
        message = {"role": "assistant", "content": choice["content"]}
        if choice["tool_calls"]:
            message["tool_calls"] = choice["tool_calls"]
        made.append({"index": index, "message": message, "finish_reason": choice["finish_reason"]})
    return orjson.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": made, "usage": USAGE}
    )


@given(CHOICES)
def test_an_answer_survives_being_streamed_and_put_together(choices: list[dict]) -> None:
    answer = completion(choices)
    streamed = stream_of(answer)
    assert streamed is not None
    whole = whole_answer(*streamed)
    assert whole is not None
    assert orjson.loads(whole) == orjson.loads(answer)


def frame(delta: dict, finish: str | None = None, index: int = 0, **more) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return data_frame(orjson.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}))


def put_together(*frames: bytes) -> dict | None:
    whole = whole_answer(b"".join(frames), b"")
    return orjson.loads(whole)["choices"][0] if whole is not None else None


def test_text_and_tool_arguments_are_appended() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    choice = put_together(
        frame({"role": "assistant", "content": "Let "}),
        frame({"content": "me"}),
        frame({"tool_calls": [call]}),
        frame({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        frame({"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}),
        frame({}, "tool_calls"),
    )
    assert choice is not None
    assert choice["message"] == {"role": "assistant", "content": "Let me", "tool_calls": [TOOL_CALL]}


def test_log_probabilities_are_joined() -> None:
    choice = put_together(
        frame({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None}),
        frame({"content": "b"}, "stop", logprobs={"content": [{"token": "b"}], "refusal": None}),
    )
    assert choice is not None
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": None}


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame({"content": "a"})], id="no-finish-reason"),
        pytest.param([data_frame(b'{"error":{}}')], id="error"),
        pytest.param([frame({"tool_calls": [{"index": 3}]}, "stop")], id="gap-in-list"),
        pytest.param([frame({"parts": [1]}, "stop")], id="unknown-list"),
        pytest.param([frame({"x": 1}), frame({"x": 2}, "stop")], id="contradiction"),
        pytest.param([data_frame(b'{"choices":[1]}')], id="no-choice"),
        pytest.param([b": ping\n\n"], id="comment-only"),
    ],
)
def test_what_cannot_be_put_together_is_not_guessed(frames: list[bytes]) -> None:
    assert put_together(*frames) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_either_way(data: bytes) -> None:
    whole_answer(data, b"")
    stream_of(data)


@pytest.mark.parametrize("answer", [b"[]", b"1", b'{"choices":[{}]}', b'{"choices":1}', b'{"choices":[{"message":3}]}'])
def test_an_answer_of_another_form_is_not_streamed(answer: bytes) -> None:
    assert stream_of(answer) is None


def test_the_usage_frame_stays_apart() -> None:
    streamed = stream_of(completion([{"content": "a", "finish_reason": "stop", "tool_calls": None}]))
    assert streamed is not None
    assert b'"usage"' not in streamed[0]
    assert len(split_frames(streamed[1])) == 1
