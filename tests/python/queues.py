"""The queue client of the official PAI-EAS SDK: every call of it, against an asynchronous service that runs
(`sdk-queue`) and one that is stopped (`sdk-queue-idle`), whose items stay where they are put.

`sdk.py` runs these cases.
"""

import json
import threading
import time

from eas_prediction import PredictException, QueueClient

CASES = []


def case(name):
    def register(run):
        CASES.append((name, run))
        return run

    return register


def queue(host, service, uid=None, sink=False):
    client = QueueClient(host.endpoint, service)
    client.set_token(host.tokens[service])
    client.set_timeout(20000)
    client.init(uid=uid, path_suffix="sink" if sink else "")
    # The log of a client that reconnects on purpose is noise.
    client.set_logger(None)
    return client


def idle(host, uid=None):
    """Returns an empty queue."""
    client = queue(host, "sdk-queue-idle", uid)
    last = int(client.attributes()["stream.lastEntry"])
    client.truncate(last + 1)
    return client


def until(what, happened):
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


@case("queue: put, and get the result by its request id")
def put_and_get(host):
    source, sink = queue(host, "sdk-queue"), queue(host, "sdk-queue", sink=True)
    index, request_id = source.put(json.dumps({"do": "flag"}), {"colour": "red"})
    assert index.isdigit() and request_id, (index, request_id)
    results = sink.get(request_id=request_id, timeout="20s")
    assert [dict(result.tags) for result in results] == [{"colour": "red", "requestId": request_id}], results
    assert sink.get(request_id=request_id, timeout="0s") == [], "it was removed"


@case("queue: a status that is not 200 is the tag lastCode")
def last_code(host):
    source, sink = queue(host, "sdk-queue"), queue(host, "sdk-queue", sink=True)
    for deed, code in [
        ({"do": "status", "status": 404, "message": "no such colour"}, "404"),
        ({"do": "panic"}, "400"),
    ]:
        _, request_id = source.put(json.dumps(deed))
        (result,) = sink.get(request_id=request_id, timeout="20s")
        assert result.tags["lastCode"] == code, (deed, result.tags)
    assert b"no such colour" in sink.get(
        request_id=source.put(json.dumps({"do": "status", "status": 404, "message": "no such colour"}))[1], timeout="20s"
    )[0].data


@case("queue: get by index, by tags, several, and without removing")
def get(host):
    client = idle(host)
    indexes = [int(client.put(f"{number}", {"parity": str(number % 2)})[0]) for number in range(4)]
    first = client.get(auto_delete=False)
    assert [item.data for item in first] == [b"0"], first
    assert [item.index for item in client.get(index=indexes[2], length=9, auto_delete=False)] == indexes[2:]
    odd = client.get(tags={"parity": "1"}, length=9)
    assert [item.data for item in odd] == [b"1", b"3"], odd
    assert [item.data for item in client.get(length=9, timeout="0")] == [b"0", b"2"]
    began = time.monotonic()
    assert client.get(timeout="300ms") == []
    assert time.monotonic() - began >= 0.3


@case("queue: attributes, search, delete and truncate")
def look(host):
    client = idle(host)
    indexes = [int(client.put("x")[0]) for _ in range(4)]
    attributes = client.attributes()
    assert attributes["stream.length"] == "4" and attributes["meta.maxPayloadBytes"] == "1000", attributes
    assert attributes["stream.lastEntry"] == str(indexes[-1]), attributes
    found = client.search(indexes[2])
    assert (found["IsPending"], found["WaitCount"]) == (False, 2), found
    assert client.search(10**9) == {}, "what is not there is empty"
    assert client.delete(indexes[0]) == "OK" and client.delete([indexes[1], 10**9]) == "OK"
    client.truncate(indexes[3])
    assert [item.index for item in client.get(length=9)] == [indexes[3]]


@case("queue: a priority overtakes")
def priority(host):
    client = idle(host)
    client.put("usual")
    client.put("urgent", {"_priority_": 1})
    assert [item.data for item in client.get(length=2)] == [b"urgent", b"usual"]


@case("queue: watch with commits by hand, and a dropped connection")
def watch(host):
    client = idle(host, uid="watcher")
    indexes = [int(client.put(f"{number}")[0]) for number in range(3)]
    watcher = client.watch(0, 2, auto_commit=False)
    items = watcher.run()
    first, second = next(items), next(items)
    assert [first.index, second.index] == indexes[:2]
    assert client.search(first.index)["IsPending"] is True
    assert client.commit(first.index) == b"OK"
    third = next(items)
    assert third.index == indexes[2]
    # The connection is lost. The client connects again by itself, and gets again what it has not committed.
    client.watch_sock.abort()
    again = sorted([next(items).index, next(items).index])
    assert again == indexes[1:], again
    assert client.commit(again) == b"OK"
    watcher.close()
    assert client.get(timeout="0s") == []


@case("queue: watch with automatic commits, of a tag, without data")
def watch_automatically(host):
    client = idle(host)
    client.put("other", {"kind": "other"})
    watcher = client.watch(0, 5, index_only=True, auto_commit=True, tags={"kind": "mine"})
    items = watcher.run()
    got = []
    reader = threading.Thread(target=lambda: got.append(next(items)))
    reader.start()
    index, _ = client.put("mine", {"kind": "mine"})
    reader.join(20)
    assert [(item.index, item.data) for item in got] == [(int(index), b"")], got
    until("the commit", lambda: client.attributes()["stream.length"] == "1")
    watcher.close()


@case("queue: a commit of somebody else's item is refused")
def stale_commit(host):
    client = idle(host, uid="one")
    index, _ = client.put("x")
    watcher = client.watch(0, 1, auto_commit=False)
    next(watcher.run())
    other = queue(host, "sdk-queue-idle", uid="two")
    for index in [index, 10**9]:
        try:
            other.commit(index)
        except PredictException as refused:
            assert refused.code == 409 and b"lease_lost" in refused.message, refused
        else:
            raise AssertionError("it was accepted")
    watcher.close()


@case("queue: what does not fit is refused")
def refused(host):
    client = idle(host)
    for put, code, says in [
        (lambda: client.put("x" * 1001), 413, b"queue.max_payload_bytes"),
        (lambda: [client.put("x") for _ in range(21)], 450, b"queue.length"),
        (lambda: client.get(timeout="soon"), 400, b"soon"),
    ]:
        try:
            put()
        except PredictException as error:
            assert error.code == code and says in error.message, error
        else:
            raise AssertionError(f"no {code}")
    assert len(client.get(length=99)) == 20, "a refusal loses nothing"
