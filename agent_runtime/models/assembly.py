"""How does a streamed answer become a whole one, and a whole one a stream? Pure.

Deltas are put together as the OpenAI API defines them: text is appended, parts of lists are merged by ``index``.
A stream that cannot be put together without loss gives None, and the caller asks the endpoint instead.
"""

from __future__ import annotations

from typing import Any

import orjson

from agent_runtime.models.sse import DONE_FRAME, data_frame, frame_json, split_frames

_APPENDED = frozenset({"content", "refusal", "reasoning_content", "reasoning", "arguments"})


def whole_answer(frames: bytes, usage_frame: bytes) -> bytes | None:
    """The JSON answer (chat.completion) a stream amounts to; None when it cannot be put together."""
    answer: dict[str, Any] | None = None
    choices: dict[int, dict[str, Any]] = {}
    for frame in split_frames(frames) + ([usage_frame] if usage_frame else []):
        chunk = frame_json(frame)
        if chunk is None:
            continue
        if not isinstance(chunk, dict) or "error" in chunk:
            return None
        if answer is None:
            answer = {name: value for name, value in chunk.items() if name not in ("choices", "usage", "obfuscation")}
        if isinstance(chunk.get("usage"), dict):
            answer["usage"] = chunk["usage"]
        for part in chunk.get("choices") or []:
            if not isinstance(part, dict) or not _add_choice(choices, part):
                return None
    if answer is None or not choices or any(choice["finish_reason"] is None for choice in choices.values()):
        return None
    answer["object"] = "chat.completion"
    answer["choices"] = [choices[index] for index in sorted(choices)]
    return orjson.dumps(answer)


def completion_of(text: str, model: str, created_s: float, identity: str) -> bytes:
    """A chat completion that says this text and used no tokens."""
    body = {
        "id": identity,
        "object": "chat.completion",
        "created": int(created_s),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    return orjson.dumps(body)


def stream_of(answer: bytes) -> tuple[bytes, bytes] | None:
    """Frames of a JSON answer: one delta and one end per choice, and the usage frame apart.

    None when the answer has not the form of a chat completion.
    """
    try:
        whole = orjson.loads(answer)
        head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
        head["object"] = "chat.completion.chunk"
        frames = []
        for choice in whole["choices"]:
            delta = dict(choice["message"])
            if delta.get("tool_calls"):
                delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
            first = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
            last = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
            frames.append({**head, "choices": [{**first, "delta": delta, "finish_reason": None}]})
            frames.append({**head, "choices": [last]})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    usage = data_frame(orjson.dumps({**head, "choices": [], "usage": whole["usage"]})) if "usage" in whole else b""
    return b"".join(data_frame(orjson.dumps(frame)) for frame in frames) + DONE_FRAME, usage


def _add_choice(choices: dict[int, dict[str, Any]], part: dict[str, Any]) -> bool:
    index = part.get("index", 0)
    if not isinstance(index, int):
        return False
    choice = choices.setdefault(index, {"index": index, "message": {"role": "assistant", "content": None}})
    choice.setdefault("finish_reason", None)
    for name, value in part.items():
        if name == "delta":
            if not isinstance(value, dict) or not _merge(choice["message"], value):
                return False
        elif name == "logprobs":
            if isinstance(value, dict) and not _add_logprobs(choice, value):
                return False
        elif name != "index" and value is not None:
            choice[name] = value
    return True


def _merge(message: dict[str, Any], delta: dict[str, Any]) -> bool:
    """Add a delta to a message in place; False when a field cannot be merged."""
    for name, value in delta.items():
        old = message.get(name)
        if value is None:
            message.setdefault(name, None)
        elif old is None and not isinstance(value, list | dict):
            message[name] = value
        elif isinstance(value, str) and isinstance(old, str):
            message[name] = old + value if name in _APPENDED else value
        elif isinstance(value, list):
            if not _merge_list(message, name, value):
                return False
        elif isinstance(value, dict):
            target = message.setdefault(name, {})
            if not isinstance(target, dict) or not _merge(target, value):
                return False
        elif old != value:
            return False
    return True


def _merge_list(message: dict[str, Any], name: str, parts: list[Any]) -> bool:
    merged = message.setdefault(name, [])
    if not isinstance(merged, list):
        return False
    for part in parts:
        index = part.get("index") if isinstance(part, dict) else None
        if not isinstance(index, int) or not 0 <= index <= len(merged):
            return False
        if index == len(merged):
            merged.append({})
        if not _merge(merged[index], {key: value for key, value in part.items() if key != "index"}):
            return False
    return True


def _add_logprobs(choice: dict[str, Any], part: dict[str, Any]) -> bool:
    known = choice.setdefault("logprobs", {})
    for name, value in part.items():
        if value is None:
            known.setdefault(name, None)
        elif isinstance(value, list):
            known[name] = (known.get(name) or []) + value
        else:
            return False
    return True
