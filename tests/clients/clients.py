"""The HTTP clients of Python. See README.md for the plan and the output.

    python clients.py PLAN
"""

import asyncio
import http.client
import itertools
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

import aiohttp
import httpx
import requests

PATIENCE = 60
PIECE = 64 << 10


class Request(NamedTuple):
    session: str
    index: str
    method: str
    url: str
    framing: str
    body: bytes
    headers: dict[str, str]

    def pieces(self):
        for start in range(0, len(self.body), PIECE):
            yield self.body[start : start + PIECE]

    async def pieces_async(self):
        for piece in self.pieces():
            yield piece

    def content(self, chunked):
        """Returns the body in the form that most clients accept: bytes for a length, an iterator for chunks."""
        return {"none": lambda: None, "length": lambda: self.body, "chunked": chunked}[self.framing]()


def read_plan(path):
    def request(line):
        session, index, method, url, framing, body, *fields = line.split("\t")
        kind, _, text = body.partition(":")
        content = text.encode() if kind == "text" else b"a" * int(text)
        return Request(session, index, method, url, framing, content, dict(field.split(": ", 1) for field in fields))

    lines = pathlib.Path(path).read_text().splitlines()[1:]
    return [list(session) for _, session in itertools.groupby(map(request, lines), lambda request: request.session)]


def tell(client, request, status, code):
    print(client, request.session, request.index, status, code, sep="\t", flush=True)


def code_of(content):
    found = re.search(r'"code":\s*"(\w+)"', content.decode("utf-8", "replace"))
    return found[1] if found else "-"


def failed(client, request, error):
    tell(client, request, "error", " ".join(f"{type(error).__name__}: {error}".split()))


def with_requests(session):
    with requests.Session() as client:
        client.trust_env = False
        for request in session:
            content = request.content(request.pieces)
            try:
                answer = client.request(request.method, request.url, data=content, headers=request.headers, timeout=PATIENCE)
                tell("requests", request, answer.status_code, code_of(answer.content))
            except requests.RequestException as error:
                failed("requests", request, error)


def with_httpx(session):
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for request in session:
            content = request.content(request.pieces)
            try:
                answer = client.request(request.method, request.url, content=content, headers=request.headers)
                tell("httpx", request, answer.status_code, code_of(answer.content))
            except httpx.HTTPError as error:
                failed("httpx", request, error)


async def with_httpx_async(session):
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        for request in session:
            content = request.content(request.pieces_async)
            try:
                answer = await client.request(request.method, request.url, content=content, headers=request.headers)
                tell("httpx async", request, answer.status_code, code_of(answer.content))
            except Exception as error:  # noqa: BLE001 - some errors of its transport are no httpx.HTTPError
                failed("httpx async", request, error)


async def with_aiohttp(session):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as client:
        for request in session:
            content = request.content(request.pieces_async)
            try:
                async with client.request(request.method, request.url, data=content, headers=request.headers) as answer:
                    tell("aiohttp", request, answer.status, code_of(await answer.read()))
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                failed("aiohttp", request, error)


def with_http_client(session):
    address = urllib.parse.urlsplit(session[0].url)
    client = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    for request in session:
        target = urllib.parse.urlsplit(request.url)
        path = target.path + (f"?{target.query}" if target.query else "")
        try:
            is_chunked = request.framing == "chunked"
            client.request(request.method, path, request.content(request.pieces), request.headers, encode_chunked=is_chunked)
            answer = client.getresponse()
            tell("http.client", request, answer.status, code_of(answer.read()))
        except (http.client.HTTPException, OSError) as error:
            failed("http.client", request, error)
            client.close()
    client.close()


def with_urllib(session):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for request in session:
        asked = urllib.request.Request(request.url, request.content(request.pieces), request.headers, method=request.method)
        try:
            with opener.open(asked, timeout=PATIENCE) as answer:
                tell("urllib", request, answer.status, code_of(answer.read()))
        except urllib.error.HTTPError as refused:
            tell("urllib", request, refused.code, code_of(refused.read()))
        except OSError as error:
            failed("urllib", request, error)


def main():
    for session in read_plan(sys.argv[1]):
        with_requests(session)
        with_httpx(session)
        asyncio.run(with_httpx_async(session))
        asyncio.run(with_aiohttp(session))
        with_http_client(session)
        with_urllib(session)


main()
