"""Calls a running Bulkhead with the official PAI-EAS client: what the client's users see must be what EAS shows them.

    python sdk.py http://127.0.0.1:8080 echo=TOKEN sdk-faults=TOKEN sdk-limited=TOKEN sdk-custom=TOKEN sdk-python-guest=TOKEN

Prints a line for each case, `ok` or `FAIL`, and ends with 1 if one failed. `cargo xtask test` deploys the services,
starts this, and finds the cases' names by their `@case` lines.
"""

import hashlib
import json
import sys
import threading
import time

from eas_prediction import PredictClient, PredictException, StringRequest

CASES = []


def case(name):
    def register(run):
        CASES.append((name, run))
        return run

    return register


class Host:
    def __init__(self, endpoint, tokens):
        self.endpoint = endpoint
        self.tokens = tokens

    def client(self, service, token=None):
        """A client as the SDK's readme makes it. It signs with the token; the token itself is not sent."""
        client = PredictClient(self.endpoint, service)
        client.set_token(self.tokens.get(service, "") if token is None else token)
        client.set_timeout(10_000)
        client.init()
        return client

    def ask(self, service, deed):
        return self.client(service).predict(StringRequest(json.dumps(deed))).response_data


def refusal(ask):
    """The exception that `ask` raises. An answer instead of it is a failure."""
    try:
        answer = ask()
    except PredictException as refused:
        return refused
    raise AssertionError(f"no exception, but the answer {answer!r}")


def check_refusal(ask, status, code, text=""):
    """The exception has the status, and its message is a problem that a person and a program can read."""
    refused = refusal(ask)
    assert refused.code == status, f"status {refused.code} instead of {status}: {refused.message!r}"
    problem = json.loads(refused.message)
    assert problem["status"] == status, problem
    assert problem["code"] == code, problem
    assert problem["detail"] and text in problem["detail"], problem
    assert problem["request_id"], problem
    return problem


def run_all(threads):
    threads = list(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@case("a signed call is answered")
def signed(host):
    answer = host.client("echo").predict(StringRequest("hello"))
    assert answer.response_data == b"hello", answer.response_data


@case("bodies arrive byte by byte")
def bodies(host):
    client = host.client("echo")
    for body in ["", "größer 漢字", bytes(range(256)), b"x" * (1 << 20)]:
        sent = body.encode() if isinstance(body, str) else body
        assert client.predict(StringRequest(body)).response_data == sent, f"{len(sent)} bytes"


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


@case("401 unauthorized: a signature made with another token")
def wrong_token(host):
    client = host.client("echo", token="not-the-token")
    check_refusal(lambda: client.predict(StringRequest("hello")), 401, "unauthorized", "signature")


@case("401 unauthorized: no token at all")
def no_token(host):
    client = host.client("echo", token="")
    check_refusal(lambda: client.predict(StringRequest("hello")), 401, "unauthorized", "Authorization")


@case("404 service_not_found")
def no_service(host):
    client = host.client("no-such-service", token="any")
    check_refusal(lambda: client.predict(StringRequest("hello")), 404, "service_not_found", "no-such-service")


@case("400 processor_exception: a panic, with its message")
def panic(host):
    deed = {"do": "panic", "message": "out of cheese"}
    check_refusal(lambda: host.ask("sdk-faults", deed), 400, "processor_exception", "out of cheese")
    assert json.loads(host.ask("sdk-faults", {"do": "sleep", "ms": 1})) == {"slept_ms": 1}, "the service goes on"


@case("470 processor_exception: the status that the service file chose")
def trap_status(host):
    check_refusal(lambda: host.ask("sdk-custom", {"do": "trap"}), 470, "processor_exception")


@case("471 fuel_exhausted: the status that the service file chose")
def fuel_status(host):
    check_refusal(lambda: host.ask("sdk-custom", {"do": "burn", "rounds": 10**9}), 471, "fuel_exhausted")


@case("422: the status and words that the processor chose")
def own_status(host):
    refused = refusal(lambda: host.ask("sdk-faults", {"do": "status", "status": 422, "message": "no such colour"}))
    assert (refused.code, refused.message) == (422, b"no such colour"), refused


@case("408 deadline_exceeded")
def deadline(host):
    start = time.monotonic()
    problem = check_refusal(lambda: host.ask("sdk-faults", {"do": "loop"}), 408, "deadline_exceeded", "2000 ms")
    took = time.monotonic() - start
    assert took < 6, f"took {took:.1f} s: the client must not have tried again"
    assert problem["spent_ms"]["run"] > 1000, problem


@case("413 body_too_large")
def too_large(host):
    client = host.client("sdk-faults")
    check_refusal(lambda: client.predict(StringRequest("x" * 5000)), 413, "body_too_large", "4096 bytes")


@case("429 rate_limited")
def rate_limit(host):
    client = host.client("sdk-limited")

    def burst():
        for _ in range(20):
            client.predict(StringRequest("hello"))

    check_refusal(burst, 429, "rate_limited")


@case("450 queue_full")
def queue_full(host):
    outcomes = []

    def call():
        try:
            outcomes.append(host.ask("sdk-faults", {"do": "sleep", "ms": 500}))
        except PredictException as refused:
            outcomes.append(refused)

    # Two at work and one waiting are all there is room for; a worker that an earlier case cost its guest may still be
    # getting a new one, and counts as busy until it has it.
    run_all(threading.Thread(target=call) for _ in range(8))
    refused = [outcome for outcome in outcomes if isinstance(outcome, PredictException)]
    assert {outcome.code for outcome in refused} == {450}, refused
    problem = json.loads(refused[0].message)
    assert (problem["code"], problem["title"]) == ("queue_full", "Queue Full"), problem
    answered = [outcome for outcome in outcomes if outcome == b'{"slept_ms":500}']
    assert len(answered) >= 2 and len(answered) + len(refused) == 8, outcomes


def main():
    endpoint, *services = sys.argv[1:]
    host = Host(endpoint, dict(service.split("=", 1) for service in services))
    failed = 0
    for name, run in CASES:
        try:
            run(host)
        except Exception as error:  # whatever it is, the other cases are worth running
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok {name}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
