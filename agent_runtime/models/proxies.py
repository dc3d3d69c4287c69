"""Through which proxy is an endpoint reached? Pure: settings and environment in, URL out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yarl import URL


def proxy_for(url: URL, own: str | None, no_proxy: Sequence[str], environ: Mapping[str, str]) -> URL | None:
    """The proxy for calls to this URL; None when they go straight.

    The settings' proxy goes before the environment's HTTPS_PROXY or HTTP_PROXY (either case; lower case wins, as with
    curl). Hosts of ``no_proxy`` and of NO_PROXY, and all hosts below them, are reached without one.
    """
    name = f"{url.scheme}_proxy"
    proxy = own or environ.get(name) or environ.get(name.upper())
    if not proxy:
        return None
    from_environment = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_matches(name.strip().lower(), url) for name in (*no_proxy, *from_environment.split(","))):
        return None
    return URL(proxy if "://" in proxy else f"http://{proxy}")


def _matches(name: str, url: URL) -> bool:
    """Does a name of NO_PROXY stand for the URL's host? ``*`` does for all; a port in it must be the URL's."""
    if name == "*":
        return True
    name, _, port = name.removeprefix("*").removeprefix(".").partition(":")
    host = (url.host or "").lower()
    return bool(name) and (host == name or host.endswith(f".{name}")) and port in ("", str(url.port))
