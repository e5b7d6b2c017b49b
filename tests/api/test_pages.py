"""The pages for people."""

from __future__ import annotations

import re

import httpx
import pytest

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_is_led_to_the_api(api: httpx.Client) -> None:
    page = api.get("/", headers=BROWSER)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<title>zun_coe</title>" in page.text
    for link in re.findall(r'href="([a-z0-9/.]+)"', page.text):
        assert api.get(f"/{link}", headers=BROWSER).status_code == 200, link
    assert "v1/ui/" in page.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", "text/plain"])
def test_programs_get_the_versions(api: httpx.Client, accept: str) -> None:
    assert "versions" in api.get("/", headers={"Accept": accept}).json()


def test_the_page_of_the_api_has_our_name_and_all_that_it_needs(api: httpx.Client) -> None:
    page = api.get("/v1/ui/")
    assert "<title>zun_coe</title>" in page.text
    assert "<script>" not in page.text, "the policy forbids it"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for name in re.findall(r'(?:src|href)="([a-z-]+\.[a-z]+)"', page.text):
        assert api.get(f"/v1/ui/{name}").status_code == 200, name
    assert '"../openapi.json"' in api.get("/v1/ui/page.js").text
    assert api.get("/v1/ui").headers["Location"] == "/v1/ui/"
    assert api.get("/v1/ui/index.html").text == page.text
    assert api.head("/v1/ui/").status_code == 200


@pytest.mark.parametrize("path", ["index.j2", "nothing.js", "../openapi.yaml", "..%2f..%2fapp.js", "a/page.js", ".js"])
def test_there_is_nothing_else(api: httpx.Client, path: str) -> None:
    assert api.get(f"/v1/ui/{path}").status_code == 404
    assert api.post("/v1/ui/").status_code == 404
