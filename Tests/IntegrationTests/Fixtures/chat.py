"""Members of the chat of Examples/WebSocketChat, with PyPI's websockets.

    chat.py PORT

Writes `talked` when all of them have heard what they should, and then with which code the server closes a connection.
"""

import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 20


def expect(member, message):
    heard = member.recv(timeout=PATIENCE)
    assert heard == message, f"{heard!r:.80} instead of {message!r:.80}"


def closing_code(member):
    """The code of the server's close frame."""
    try:
        heard = member.recv(timeout=PATIENCE)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    raise AssertionError(f"heard {heard!r:.80} instead of the end")


def main(uri):
    with connect(uri) as anna, connect(uri) as ben, connect(uri) as carl:
        ben.send("hello")
        expect(anna, "hello")
        expect(carl, "hello")
        anna.send(["one, ", "in ", "pieces"])
        # Not his own hello.
        expect(ben, "one, in pieces")
        expect(carl, "one, in pieces")
        picture = bytes(range(256)) * 200
        carl.send(picture)
        expect(anna, picture)
        expect(ben, picture)
        assert anna.ping().wait(PATIENCE), "no pong"

        with connect(uri) as dora:
            dora.send("x" * 100_000)
            print("too long", closing_code(dora), flush=True)
        with connect(uri) as emil:
            emil.send(["x" * 40_000, "y" * 40_000])
            print("too long in pieces", closing_code(emil), flush=True)
        carl.close()
        ben.send("still here")
        expect(anna, "still here")
        print("talked", flush=True)
        print("closed", closing_code(anna), flush=True)


main(f"ws://127.0.0.1:{sys.argv[1]}/")
