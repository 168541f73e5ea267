"""Tests grpc-echo with PyPI's grpcio.

    test.py PROGRAM [OPTION...]

Starts the program with these options, calls it, and replaces its workers meanwhile.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time

import grpc

PATIENCE = 30

# grpcio may send a call just before it heeds a server's GOAWAY, and grpc-swift refuses it then, unseen by the service (also
# on SwiftNIO's own event loops). As clients of servers that are replaced do, have it sent again.
RETRIES = json.dumps({"methodConfig": [{
    "name": [{"service": "ringmaster.echo.Echo", "method": "Get"}],
    "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    },
}]})


def encode(text):
    """The message `Text` of echo.proto."""
    content = text.encode()
    if not content:
        return b""
    length, prefix = len(content), b"\x0a"
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + content


def decode(message):
    if not message:
        return ""
    assert message[:1] == b"\x0a", message[:20]
    position, length, shift = 1, 0, 0
    while True:
        byte = message[position]
        position, length, shift = position + 1, length | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            break
    assert position + length == len(message)
    return message[position:].decode()


class Server:
    """The program, from `ready` to its end."""

    def __init__(self, arguments):
        self.process = subprocess.Popen(
            arguments, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.log = []
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        self.wait_for(": ready", 1)
        self.address = re.search(r"address=(\S+)", "".join(self.log)).group(1)

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.log.append(line)
                self.changed.notify_all()

    def wait_for(self, text, count):
        with self.changed:
            found = self.changed.wait_for(lambda: sum(text in line for line in self.log) >= count, PATIENCE)
        assert found, f"no {text!r} in:\n{''.join(self.log)}"

    def workers(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return set(children.read().split())

    def reload(self):
        """Replaces the workers; returns when the new ones serve."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while not self.workers() - old:
            assert time.monotonic() < deadline, "no new worker"
            time.sleep(0.01)
        return old

    def wait_until_gone(self, workers):
        deadline = time.monotonic() + PATIENCE
        while self.workers() & workers:
            assert time.monotonic() < deadline, f"still there: {self.workers() & workers}\n{''.join(self.log)}"
            time.sleep(0.01)


class Echo:
    """The service's stub."""

    def __init__(self, channel):
        coding = {"request_serializer": encode, "response_deserializer": decode}
        self.get = channel.unary_unary("/ringmaster.echo.Echo/Get", **coding)
        self.update = channel.stream_stream("/ringmaster.echo.Echo/Update", **coding)
        self.missing = channel.unary_unary("/ringmaster.echo.Echo/Missing", **coding)
        self.raw = channel.unary_unary("/ringmaster.echo.Echo/Get")


class Conversation:
    """A bidirectional stream, one text at a time."""

    def __init__(self, echo):
        self.texts = []
        self.changed = threading.Condition()
        self.answers = echo.update(self.say(), timeout=PATIENCE)

    def say(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.texts)
                text = self.texts.pop(0)
            if text is None:
                return
            yield text

    def send(self, text):
        with self.changed:
            self.texts.append(text)
            self.changed.notify_all()

    def exchange(self, text):
        self.send(text)
        answer = next(self.answers)
        assert answer == text, (answer, text)

    def finish(self):
        self.send(None)
        assert list(self.answers) == []
        assert self.answers.code() is grpc.StatusCode.OK


def check_calls(echo):
    for text in ["hello", "", "größer", "x" * 300, "y" * 1_000_000]:
        assert echo.get(text, timeout=PATIENCE) == text
    calls = [echo.get.future(f"call {number}", timeout=PATIENCE) for number in range(200)]
    assert [call.result() for call in calls] == [f"call {number}" for number in range(200)]
    texts = [f"text {number}" for number in range(1000)]
    assert list(echo.update(iter(texts), timeout=PATIENCE)) == texts
    # A field that this version of the message does not know.
    assert echo.raw(b"\x10\x07" + encode("known"), timeout=PATIENCE) == encode("known")


def check_refusals(echo):
    for call, request, code in [
        (echo.missing, "hello", grpc.StatusCode.UNIMPLEMENTED),
        (echo.raw, b"\x0a\x7f", grpc.StatusCode.INVALID_ARGUMENT),
    ]:
        try:
            call(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            assert error.code() is code, error
        else:
            raise AssertionError(f"no {code}")


def check_reload(server, echo):
    """A stream that is open goes on in its worker; new calls go to the new workers; none fails."""
    conversation = Conversation(echo)
    conversation.exchange("before")
    old = server.reload()
    conversation.exchange("meanwhile")
    for number in range(100):
        assert echo.get(f"after {number}", timeout=PATIENCE) == f"after {number}"
    conversation.exchange("at last")
    conversation.finish()
    server.wait_until_gone(old)
    assert echo.get("with new workers", timeout=PATIENCE) == "with new workers"


def check_stop(server, echo):
    """A stream that is open may end; then the program ends."""
    conversation = Conversation(echo)
    conversation.exchange("before")
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("stopping", 1)
    conversation.exchange("meanwhile")
    conversation.finish()
    assert server.process.wait(PATIENCE) == 0, "".join(server.log)


def main(arguments):
    server = Server([*arguments, "--listen", "127.0.0.1:0", "--workers", "2"])
    try:
        with grpc.insecure_channel(server.address, options=[("grpc.service_config", RETRIES)]) as channel:
            echo = Echo(channel)
            check_calls(echo)
            check_refusals(echo)
            check_reload(server, echo)
            check_stop(server, echo)
    finally:
        server.process.kill()
    print(f"grpcio {grpc.__version__} agrees with {' '.join(arguments)}")


main(sys.argv[1:])
