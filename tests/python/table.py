"""The table of SDK calls × outcomes: the client's exception, the host's number of requests, the recorded outcome.

A `@row` is an outcome and the calls that have it. Its function causes the outcome with one call of the SDK. The
decorator has the results expected of the client and of the host, so that a row reads like a line of the table.

    @row("401 unauthorized", calls=[STRING, RAW], raises=401, says="signature", recorded="401 unauthorized")
    def wrong_token(host, call):
        return call.predict(host, "echo", b"hello", token="not-the-token")

`says` is a part of the message. `recorded` is a regular expression for the outcomes in the host's log, such as
`500 processor_status ×5` for five of a kind. `given` is a context that the row needs, such as a full queue. Each call
has its own request id, which distinguishes its requests from those of the context in the host's log.
"""

import contextlib
import json
import re
import time

import snappy
from eas_prediction import (
    ENDPOINT_TYPE_DIRECT,
    PredictClient,
    PredictException,
    StringRequest,
    TFRequest,
    TorchRequest,
)

ROWS = []
LINES = []

# The end of each request in the host's log; see `telemetry::access` of the host.
ENDED = re.compile(r" INFO request .* request_id=(\S+) .* status=(\d+) code=(\S*) receive_ms=")
PATIENCE = 10


class Call:
    """A way to call: the kind of request and its authorisation."""

    def __init__(self, name, request, raw_token=False, timeout_ms=10_000, endpoint_type=""):
        self.name = name
        self.request = request
        self.raw_token = raw_token
        self.timeout_ms = timeout_ms
        self.endpoint_type = endpoint_type

    def client(self, host, service, token=None, endpoint=None):
        """Makes a client as in the SDK's readme. It signs, or sends the plain token to a `custom_url`."""
        endpoint = endpoint or host.endpoint
        client = PredictClient(endpoint, service, f"{endpoint}/api/predict/{service}" if self.raw_token else "")
        client.set_token(host.tokens.get(service, "") if token is None else token)
        client.set_timeout(self.timeout_ms)
        client.set_endpoint_type(self.endpoint_type)
        client.add_extra_headers({"X-Request-Id": host.request_id})
        client.init()
        return client

    def predict(self, host, service, payload, token=None, endpoint=None):
        return self.client(host, service, token, endpoint).predict(self.request(payload))


def tf_request(payload):
    request = TFRequest("")
    request.add_feed("payload", [1], TFRequest.DT_STRING, [payload])
    return request


def torch_request(payload, compress=False):
    request = TorchRequest(flag=compress)
    request.add_feed(0, [len(payload)], TorchRequest.DT_UINT8, list(payload))
    return request


STRING = Call("StringRequest", StringRequest)
RAW = Call("StringRequest, raw token", StringRequest, raw_token=True)
TF = Call("TFRequest", tf_request)
TORCH = Call("TorchRequest", torch_request)
DIRECT = Call("StringRequest, direct mode", StringRequest, endpoint_type=ENDPOINT_TYPE_DIRECT)
PACKED = Call("StringRequest, snappy", lambda payload: StringRequest(snappy.compress(payload)))
SNAPPY = Call("TorchRequest, snappy", lambda payload: torch_request(payload, compress=True))
EVERY = [STRING, RAW, TF, TORCH, SNAPPY]


def row(outcome, calls, recorded, raises=None, says="", given=lambda _host: contextlib.nullcontext()):
    def register(run):
        def meets(host):
            wrong = [meet(host, outcome, call, run, given, (raises, says, recorded)) for call in calls]
            assert not any(wrong), "; ".join(filter(None, wrong))

        ROWS.append((outcome, meets))
        return run

    return register


def meet(host, outcome, call, run, given, expected):
    """Runs one call of a row and adds it to the table. Returns the difference from what was expected, if any."""
    raises, says, recorded = expected
    host.request_id = "given"
    with given(host):
        host.request_id = f"row-{len(LINES)}"
        try:
            run(host, call)
            raised, message = None, ""
        except PredictException as error:
            raised, message = error.code, text(error.message)
    ends = ends_of(host, host.request_id)
    found = ", ".join(counted(f"{status} {code}".strip() for status, code in ends))
    told = f"{raised}: {start(message)}" if raised else "nothing"
    LINES.append((call.name, outcome, told, str(len(ends)), found))
    if raised != raises or says not in message or not re.fullmatch(recorded, found):
        return f"{call.name}: raised {raised} {message!r}, recorded {found!r}; expected {raises} {says!r}, {recorded!r}"
    code = ends[-1][1] if ends else ""
    if code not in ("", "processor_status", "client_closed"):
        # The host wrote the body, so it must be a problem document.
        problem = json.loads(message)
        told = tuple(problem[key] for key in ("status", "code", "request_id"))
        if told != (raised, code, host.request_id) or not problem["detail"]:
            return f"{call.name}: the problem is {problem}"
    return ""


def ends_of(host, request_id):
    """Returns the outcomes of the requests with that id, after all have ended: a disconnected one ends later."""
    end = time.monotonic() + PATIENCE
    while True:
        accepted, settled = host.account()
        ends = ENDED.findall(host.log.read_text(encoding="utf-8", errors="replace"))
        if accepted == settled == len(ends):
            return [(status, code) for found, status, code in ends if found == request_id]
        assert time.monotonic() < end, f"{accepted} accepted, {settled} settled, {len(ends)} in the log"
        time.sleep(0.01)


def counted(ends):
    """Lists each kind once, in order of its first occurrence, with its number if above one."""
    counts = {}
    for end in ends:
        counts[end] = counts.get(end, 0) + 1
    return [end if count == 1 else f"{end} ×{count}" for end, count in counts.items()]


def text(message):
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)


def start(message):
    """Shortens a message for the table: a problem's detail, or the beginning of another text."""
    try:
        problem = json.loads(message)
        message = f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        pass
    # The client's message has the URL first and the cause last.
    message = " ".join(message.split()).rpartition("error: ")[2].rpartition("Caused by ")[2]
    return message if len(message) <= 60 else message[:59] + "…"


def print_table():
    if not LINES:
        return
    header = ("SDK call", "outcome", "the SDK raised", "requests", "the host recorded")
    lines = [header, *LINES]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print()
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print(flush=True)
