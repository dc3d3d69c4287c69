"""Which calls go through a proxy."""

import pytest
from yarl import URL

from agent_runtime.models.proxies import proxy_for

HTTPS = "https://api.models.example/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "own", "no_proxy", "environ", "expected"),
    [
        pytest.param(HTTPS, None, [], {}, None, id="none"),
        pytest.param(HTTPS, "http://own:1", [], {"HTTPS_PROXY": "http://env:2"}, "http://own:1", id="own-first"),
        pytest.param(HTTPS, None, [], {"HTTPS_PROXY": "http://env:2"}, "http://env:2", id="environment"),
        pytest.param(HTTPS, None, [], {"https_proxy": "env:2", "HTTPS_PROXY": "x"}, "http://env:2", id="lower-case"),
        pytest.param(HTTPS, None, [], {"HTTP_PROXY": "http://env:2"}, None, id="other-scheme"),
        pytest.param("http://h/v1", None, [], {"HTTP_PROXY": "http://env:2"}, "http://env:2", id="http"),
        pytest.param(HTTPS, "http://own:1", ["api.models.example"], {}, None, id="host"),
        pytest.param(HTTPS, "http://own:1", [".models.example"], {}, None, id="domain"),
        pytest.param(HTTPS, "http://own:1", ["models.example"], {}, None, id="domain-without-dot"),
        pytest.param(HTTPS, "http://own:1", ["s.example"], {}, "http://own:1", id="not-a-whole-label"),
        pytest.param(HTTPS, "http://own:1", [], {"NO_PROXY": "a, api.models.example:443"}, None, id="with-port"),
        pytest.param(HTTPS, "http://own:1", [], {"NO_PROXY": "api.models.example:80"}, "http://own:1", id="port"),
        pytest.param(HTTPS, "http://own:1", [], {"no_proxy": "*"}, None, id="all"),
        pytest.param("http://10.0.0.9:8080/v1", "http://own:1", ["10.0.0.9"], {}, None, id="address"),
    ],
)
def test_the_proxy_of_a_url(url, own, no_proxy, environ, expected) -> None:
    found = proxy_for(URL(url), own, no_proxy, environ)
    assert found == (URL(expected) if expected else None)
