"""The bytes of a request."""

import pytest
from yarl import URL

from agent_runtime.models.wire import request_bytes, request_head

URL_ = URL("http://models.example:8080/v1/chat/completions?api-version=1")


@pytest.mark.parametrize(
    ("url", "proxy", "first", "host"),
    [
        pytest.param(URL_, None, "POST /v1/chat/completions?api-version=1 HTTP/1.1", "models.example:8080", id="plain"),
        pytest.param(URL("https://h/v1"), None, "POST /v1 HTTP/1.1", "h", id="default-port"),
        pytest.param(URL("http://[::1]:9/v1"), None, "POST /v1 HTTP/1.1", "[::1]:9", id="ipv6"),
        pytest.param(URL("https://bücher.example/v1"), None, "POST /v1 HTTP/1.1", "xn--bcher-kva.example", id="idn"),
        pytest.param(
            URL_, URL("http://p:1"), f"POST {URL_} HTTP/1.1", "models.example:8080", id="whole-url-for-a-proxy"
        ),
        pytest.param(URL("https://h/v1"), URL("http://a:b@p:1"), "POST /v1 HTTP/1.1", "h", id="path-within-a-tunnel"),
    ],
)
def test_the_head_names_what_is_asked_for(url: URL, proxy: URL | None, first: str, host: str) -> None:
    lines = request_head(url, proxy).decode().split("\r\n")
    assert lines[0] == first
    assert f"Host: {host}" in lines
    assert lines[-1] == "" and "" not in lines[:-1]


def test_a_proxys_credentials_go_to_the_proxy_alone() -> None:
    proxy = URL("http://me:secret@p:1")
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in request_head(URL_, proxy)
    assert b"Proxy-Authorization" not in request_head(URL("https://h/v1"), proxy)


def test_a_header_cannot_bring_others_along() -> None:
    headers = {"traceparent": "00-a\r\nX-Evil: 1", "x\r\nY": "1", "baggage": "a=\u00fc", "tracestate": "a\0b"}
    sent = request_bytes(b"HEAD\r\n", headers, b"{}")
    assert sent == b"HEAD\r\nbaggage: a=\xc3\xbc\r\nContent-Length: 2\r\n\r\n{}"
