"""Which proxy an address is reached through, and the variable that says so."""

from __future__ import annotations

import pytest

from cluster.proxies import Proxy, proxy_for


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.mark.parametrize(
    ("variables", "address", "proxy"),
    [
        ({}, "http://head:8265", None),
        ({"http_proxy": "http://p:3128"}, "http://head:8265", ("http://p:3128", "http_proxy")),
        ({"HTTP_PROXY": "p:3128"}, "http://head:8265", ("http://p:3128", "HTTP_PROXY")),
        ({"http_proxy": "http://p:3128"}, "https://head", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://head", ("http://p:3128", "HTTPS_PROXY")),
        ({"ALL_PROXY": "http://p:3128"}, "https://head", ("http://p:3128", "ALL_PROXY")),
        ({"http_proxy": "http://p", "no_proxy": "head"}, "http://head:8265", None),
        ({"http_proxy": "http://p", "no_proxy": ".example"}, "http://head.example", None),
        ({"http_proxy": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:8265", None),
        (
            {"http_proxy": "http://p", "NO_PROXY": "10.0.0.0/8"},
            "http://11.1.2.3",
            ("http://p", "http_proxy"),
        ),
        ({"http_proxy": "http://p", "no_proxy": "*"}, "http://head", None),
    ],
)
def test_the_proxy_of_an_address(
    variables: dict[str, str],
    address: str,
    proxy: tuple[str, str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(address) == (None if proxy is None else Proxy(*proxy))


@pytest.mark.parametrize("url", ["http://me:s3cret@p:3128", "http://me:s3cret@p:3128/"])
def test_its_password_is_not_shown(url: str) -> None:
    assert "s3cret" not in str(Proxy(url, "http_proxy"))
    assert "p:3128" in str(Proxy(url, "http_proxy"))
