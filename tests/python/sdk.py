"""Calls a running Bulkhead with the official PAI-EAS client: users of the client must see the same as with EAS.

    python sdk.py http://127.0.0.1:8080 http://127.0.0.1:8081 host.log NAME=TOKEN …

The arguments are the addresses of the data and the admin listener, the host's log file, and the services of this
directory with their tokens. Prints a line for each case, `ok` or `FAIL`, then the table of SDK calls × outcomes.
Exits with 1 if a case failed. `cargo xtask test` deploys the services, starts this script, and finds the names of the
cases by their `@case` and `@row` lines.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import socket
import sys
import threading
import time
import urllib.request

import numpy
from eas_prediction import OnnxDataHelper, OnnxRequest, PredictException, StringRequest, TFRequest, TorchRequest

import queues
from table import DIRECT, EVERY, PACKED, PATIENCE, RAW, ROWS, SNAPPY, STRING, TF, TORCH, Call, print_table, row

CASES = []


def case(name):
    def register(run):
        CASES.append((name, run))
        return run

    return register


class Host:
    def __init__(self, endpoint, admin, log, tokens):
        self.endpoint = endpoint
        self.admin = admin
        self.log = pathlib.Path(log)
        self.tokens = tokens
        # The id of calls in the host's log.
        self.request_id = "case"

    def client(self, service):
        return STRING.client(self, service)

    def ask(self, service, deed):
        return self.client(service).predict(StringRequest(json.dumps(deed))).response_data

    def metric(self, name):
        """Sums a metric's samples; if `name` includes labels, only the samples with those."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return sum(float(value) for sample, value in samples if sample.startswith(name))

    def account(self):
        """Returns the numbers of accepted requests and of outcomes."""
        return tuple(int(self.metric(f"bulkhead_requests_{what}{{")) for what in ("accepted_total", "total"))


def refusal(ask):
    """Returns the exception that `ask` raises. An answer is a failure."""
    try:
        answer = ask()
    except PredictException as refused:
        return refused
    raise AssertionError(f"no exception, but the answer {answer!r}")


def run_all(threads):
    threads = list(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@case("bodies arrive byte by byte")
def bodies(host):
    client = host.client("echo")
    for body in ["", "größer 漢字", bytes(range(256)), b"x" * (1 << 20)]:
        sent = body.encode() if isinstance(body, str) else body
        assert client.predict(StringRequest(body)).response_data == sent, f"{len(sent)} bytes"


@case("a sub-path that needs percent-encoding is signed before it is encoded")
def unencoded_path(host):
    for path in ["a b", "größe", "模型/v1", "100%", "a b(1)!'*", "x?q=a b", "plain"]:
        client = STRING.client(host, "echo")
        client.set_service_name(f"echo/{path}")
        assert client.predict(StringRequest("hello")).response_data == b"hello", path


@case("many clients call at once, each many times")
def threads(host):
    wrong = []

    def call(number):
        client = host.client("echo")
        for turn in range(20):
            body = f"{number}.{turn}"
            if client.predict(StringRequest(body)).response_data != body.encode():
                wrong.append(body)

    run_all(threading.Thread(target=call, args=(number,)) for number in range(4))
    assert not wrong, wrong


@case("a processor written in Python answers, and declines")
def python_guest(host):
    client = host.client("sdk-python-guest")
    answer = json.loads(client.predict(StringRequest("hello")).response_data)
    assert answer["sha256"] == hashlib.sha256(b"hello").hexdigest() and answer["request_id"], answer
    declined = refusal(lambda: client.predict(StringRequest("")))
    assert (declined.code, declined.message) == (422, b"there is nothing to hash"), declined
    assert json.loads(client.predict(StringRequest("again")).response_data), "to decline is no fault"


@case("a full queue answers some and refuses the others")
def many_at_once(host):
    outcomes = []

    def call():
        try:
            outcomes.append(host.ask("sdk-faults", {"do": "sleep", "ms": 500}))
        except PredictException as refused:
            outcomes.append(refused)

    # The service has room for two running calls and one in the queue. A worker that lost its guest in an earlier case
    # counts as busy until it has a new one.
    run_all(threading.Thread(target=call) for _ in range(8))
    refused = [outcome for outcome in outcomes if isinstance(outcome, PredictException)]
    assert {outcome.code for outcome in refused} == {450}, refused
    problem = json.loads(refused[0].message)
    assert (problem["code"], problem["title"]) == ("queue_full", "Queue Full"), problem
    answered = [outcome for outcome in outcomes if outcome == b'{"slept_ms":500}']
    assert len(answered) >= 2 and len(answered) + len(refused) == 8, outcomes


@case("408 deadline_exceeded says what the time went on")
def deadline(host):
    start = time.monotonic()
    refused = refusal(lambda: host.ask("sdk-faults", {"do": "loop"}))
    took = time.monotonic() - start
    assert took < 6, f"took {took:.1f} s: the client must not have tried again"
    assert json.loads(refused.message)["spent_ms"]["run"] > 1000, refused.message


PIXELS = 64
HELD_OUT = pathlib.Path(__file__).parents[2] / "examples" / "digits" / "data" / "heldout.jsonl"


def pictures(count):
    with HELD_OUT.open() as lines:
        return [json.loads(next(lines))["pixels"] for _ in range(count)]


def flat(rows):
    return [pixel for row in rows for pixel in row]


def check_guesses(host, rows, labels, probabilities):
    """Checks that the guesses are the same as for the rows sent as JSON."""
    answer = host.client("digits").predict(StringRequest(json.dumps({"rows": rows})))
    guesses = json.loads(answer.response_data)
    assert list(labels) == [guess["label"] for guess in guesses], list(labels)
    wanted = numpy.array([guess["probabilities"] for guess in guesses])
    numpy.testing.assert_allclose(numpy.array(probabilities).reshape(wanted.shape), wanted, atol=1e-6)


@case("TFRequest gets the guesses that JSON gets")
def tensorflow_guesses(host):
    rows = pictures(5)
    request = TFRequest("serving_default")
    request.add_feed("images", [5, PIXELS], TFRequest.DT_FLOAT, flat(rows))
    answer = host.client("digits").predict(request)
    assert answer.get_tensor_shape("probabilities") == [5, 10], answer
    check_guesses(host, rows, answer.get_values("labels"), answer.get_values("probabilities"))
    request.add_fetch("labels")
    answer = host.client("digits").predict(request)
    assert list(answer.response.outputs) == ["labels"], "only what was fetched"


@case("TorchRequest gets the guesses that JSON gets")
def torch_guesses(host):
    rows = pictures(5)
    request = TorchRequest()
    request.add_feed(0, [5, 1, 8, 8], TorchRequest.DT_FLOAT, flat(rows))
    request.add_fetch(0)
    request.add_fetch(1)
    answer = host.client("digits").predict(request)
    assert answer.get_tensor_shape(0) == [5, 10], answer
    check_guesses(host, rows, answer.get_values(1), answer.get_values(0))


@case("TorchRequest in snappy gets the guesses that JSON gets")
def snappy_guesses(host):
    rows = pictures(5)
    request = TorchRequest(flag=True)
    request.add_feed(0, [5, PIXELS], TorchRequest.DT_FLOAT, flat(rows))
    answer = host.client("sdk-digits-snappy").predict(request)
    check_guesses(host, rows, answer.get_values(1), answer.get_values(0))


@case("OnnxRequest gets the guesses that JSON gets")
def onnx_guesses(host):
    rows = pictures(5)
    request = OnnxRequest()
    request.add_tensor(OnnxDataHelper.from_array(numpy.array(rows, dtype=numpy.float32), "images"))
    answer = host.client("digits").predict(request)
    outputs = {answer.get_name(i): OnnxDataHelper.to_array(answer.get_tensor(i)) for i in range(answer.get_size())}
    check_guesses(host, rows, outputs["labels"], outputs["probabilities"])


@case("tensors that are not in order are refused, each with the reason")
def wrong_tensors(host):
    def check(request, reason):
        refused = refusal(lambda: host.client("digits").predict(request))
        assert refused.code == 400 and reason in refused.message.decode(), refused

    short = TFRequest("")
    short.add_feed("images", [2, PIXELS], TFRequest.DT_FLOAT, [0.0] * 127)
    check(short, 'inputs["images"]: its shape [2, 64] has room for 128 elements, but it has 127')
    strings = TFRequest("")
    strings.add_feed("images", [1], TFRequest.DT_STRING, [b"seven"])
    check(strings, "images: it does not have the shape of pictures")
    # The SDK appends to the shape as well as to the elements.
    twice = TorchRequest()
    for _ in range(2):
        twice.add_feed(0, [1, PIXELS], TorchRequest.DT_FLOAT, [0.0] * PIXELS)
    check(twice, "inputs[0]: its shape [1, 64, 1, 64] has room for 4096 elements, but it has 128")
    wide = TorchRequest()
    wide.add_feed(0, [1, 2], TorchRequest.DT_UINT8, [1, 300])
    check(wide, "inputs[0]: element 1 is 300, out of range for DT_UINT8")
    check(TFRequest(""), "the body is empty")
    check(StringRequest("seven"), "the body is not JSON")


def do(deed, **how):
    return json.dumps({"do": deed, **how})


@row("200", calls=[STRING, RAW], recorded="200")
def echo(host, call):
    answer = call.predict(host, "echo", b"hello").response_data
    assert answer == b"hello", answer


@row("200, a tensor", calls=[TORCH], recorded="200")
def tensor(host, call):
    # PyTorch's requests and responses begin alike, so an echo is a valid answer.
    answer = call.predict(host, "echo", b"hello")
    assert bytes(answer.get_values(0)) == b"hello" and answer.get_tensor_shape(0) == [5], answer


def tensorflow_pictures(rows):
    request = TFRequest("serving_default")
    request.add_feed("images", [len(rows), PIXELS], TFRequest.DT_FLOAT, flat(rows))
    return request


def torch_pictures(rows):
    request = TorchRequest()
    request.add_feed(0, [len(rows), PIXELS], TorchRequest.DT_FLOAT, flat(rows))
    return request


PICTURES = [Call("TFRequest", tensorflow_pictures), Call("TorchRequest", torch_pictures)]


@row("200, guesses of digits", calls=PICTURES, recorded="200")
def guesses(host, call):
    call.predict(host, "digits", pictures(3))


@row("200 three times, one client", calls=[STRING, RAW, TORCH], recorded="200 ×3")
def reuse(host, call):
    client = call.client(host, "echo")
    for _ in range(3):
        client.predict(call.request(b"hello"))


@row("200, found by discovery", calls=[DIRECT], recorded="200")
def discovered(host, call):
    answer = call.predict(host, "echo", b"hello").response_data
    assert answer == b"hello", answer


@row("200, decompressed", calls=[PACKED], recorded="200")
def packed(host, call):
    body = b"hello " * 5000
    answer = call.predict(host, "sdk-snappy", body).response_data
    assert answer == body, f"{len(answer)} bytes"


@row("200, a tensor decompressed", calls=[SNAPPY], recorded="200")
def packed_tensor(host, call):
    answer = call.predict(host, "sdk-snappy", b"hello")
    assert bytes(answer.get_values(0)) == b"hello", answer


@row("201: only 200 is success", calls=[STRING, RAW], raises=201, says="made", recorded="201 processor_status")
def created(host, call):
    call.predict(host, "sdk-faults", do("status", status=201, message="made", **{"as": "response"}))


@row("400 a panic", calls=[STRING, RAW], raises=400, says="out of cheese", recorded="400 processor_exception")
def panic(host, call):
    call.predict(host, "sdk-faults", do("panic", message="out of cheese"))


@row("400 not what the service decompresses", calls=[STRING, RAW], raises=400, says="snappy", recorded="400 bad_request")
def not_packed(host, call):
    call.predict(host, "sdk-snappy", b"hello")


@row("401 another token", calls=EVERY, raises=401, recorded="401 unauthorized")
def wrong_token(host, call):
    call.predict(host, "echo", b"hello", token="not-the-token")


@row("401 no token", calls=[STRING, TF, TORCH], raises=401, says="Authorization", recorded="401 unauthorized")
def no_token(host, call):
    call.predict(host, "echo", b"hello", token="")


@row("404", calls=EVERY, raises=404, says="no-such-service", recorded="404 service_not_found")
def no_service(host, call):
    call.predict(host, "no-such-service", b"hello", token="any")


@row("405", calls=EVERY, raises=405, says="GET", recorded="405 method_not_allowed")
def get_only(host, call):
    call.predict(host, "sdk-get-only", b"hello")


@row("408", calls=[STRING, RAW], raises=408, says="2000 ms", recorded="408 deadline_exceeded")
def overdue(host, call):
    call.predict(host, "sdk-faults", do("loop"))


@row("413", calls=EVERY, raises=413, says="4096 bytes", recorded="413 body_too_large")
def too_large(host, call):
    call.predict(host, "sdk-faults", os.urandom(5000))


@row("413 once it is decoded", calls=[PACKED, SNAPPY], raises=413, says="65536 bytes", recorded="413 body_too_large")
def bomb(host, call):
    call.predict(host, "sdk-snappy", bytes(1 << 20))


@row("422 the processor's own", calls=[STRING, RAW], raises=422, says="no such colour", recorded="422 processor_status")
def own_status(host, call):
    call.predict(host, "sdk-faults", do("status", status=422, message="no such colour"))


@row("422 a body it cannot read", calls=[TF, TORCH], raises=422, says="body", recorded="422 processor_status")
def unreadable(host, call):
    call.predict(host, "sdk-faults", b"hello")


# The rate allows one request per second, which an earlier call may have used up.
@row("429", calls=EVERY, raises=429, says="rate_limit", recorded="(200, )?429 rate_limited")
def rate_limit(host, call):
    for _ in range(20):
        call.predict(host, "sdk-limited", b"hello")


@contextlib.contextmanager
def full(host):
    """Makes both workers busy and takes the queue's only place."""
    sleepers = [threading.Thread(target=sleep, args=(host.client("sdk-faults"),)) for _ in range(3)]
    for sleeper in sleepers:
        sleeper.start()
    end = time.monotonic() + PATIENCE
    while host.metric('bulkhead_queue_depth{service="sdk-faults"') == 0:
        assert time.monotonic() < end, "the queue does not fill"
    yield
    for sleeper in sleepers:
        sleeper.join()


def sleep(client):
    # One sleeper is refused if a worker that lost its guest in an earlier case does not have a new one yet.
    with contextlib.suppress(PredictException):
        client.predict(StringRequest(do("sleep", ms=700)))


@row("450", calls=EVERY, raises=450, says="max_queue_size", recorded="450 queue_full", given=full)
def queue_full(host, call):
    call.predict(host, "sdk-faults", b"hello")


@row("470 the service file's own, for a trap", calls=[STRING], raises=470, recorded="470 processor_exception")
def trap_status(host, call):
    call.predict(host, "sdk-custom", do("trap"))


@row("471 the service file's own, for fuel", calls=EVERY, raises=471, recorded="471 fuel_exhausted")
def fuel_status(host, call):
    call.predict(host, "sdk-spent", b"hello")


HASTY = Call("StringRequest, time-out 150 ms", StringRequest, timeout_ms=150)


@row("499", calls=[HASTY], raises=500, says="timed out", recorded="499 client_closed ×5")
def hasty(host, call):
    call.predict(host, "sdk-faults", do("sleep", ms=1500))


@row("500 the processor's own", calls=[STRING, RAW], raises=500, says="hm", recorded="500 processor_status ×5")
def own_500(host, call):
    call.predict(host, "sdk-faults", do("status", status=500, message="hm"))


@row("503 stopped", calls=EVERY, raises=503, says="no healthy upstream", recorded="503 no_healthy_upstream")
def stopped(host, call):
    call.predict(host, "sdk-stopped", b"hello")


@row("500 stopped, so nothing is listed", calls=[DIRECT], raises=500, says="No backend found", recorded="")
def unlisted(host, call):
    call.predict(host, "sdk-stopped", b"hello")


@row("no host there", calls=EVERY, raises=500, says="refused", recorded="")
def refused(host, call):
    with socket.socket() as closed:
        # Bound and not listening: the port stays reserved, and connections to it are refused.
        closed.bind(("127.0.0.1", 0))
        call.predict(host, "echo", b"hello", token="any", endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}")


def main():
    endpoint, admin, log, *services = sys.argv[1:]
    host = Host(endpoint, admin, log, dict(service.split("=", 1) for service in services))
    failed = 0
    for name, run in CASES + queues.CASES + ROWS:
        try:
            run(host)
        except Exception as error:  # whatever it is, the other cases are worth running
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok {name}", flush=True)
    print_table()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
