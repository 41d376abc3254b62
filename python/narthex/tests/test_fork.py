"""Servers that fork their workers, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from narthex import Authenticator
from support import Signer, answer, serving

signer = Signer("EdDSA", "ed")
with serving() as server:
    server.handler = lambda connection: time.sleep(30)
    issuer = server.url
    auth = Authenticator(issuer=issuer)
    now = int(time.time())
    token = signer.token({"sub": "user-1", "exp": now + 60, "iss": issuer, "aud": issuer})
    auth.start()
    while not server.asked:
        time.sleep(0.01)
    # The keys are being fetched: the thread that does so stays here.
    server.handler = answer(200, {"keys": [signer.jwk]})
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if auth.verify(token).id == "user-1" else 1)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status))
"""


FOLLOWER = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from narthex import Authenticator
from narthex.testing import Issuer
from support import answer, serving

with serving() as server:
    issuer = Issuer(server.url)
    held, cut = [], []

    def handle(connection):
        if connection.path.endswith("/jwks"):
            answer(200, issuer.jwks())(connection)
        elif "wait=" in connection.path:
            held.append(connection)
            # Nothing is sent here: it ends when somebody cuts it.
            connection.connection.recv(1)
            cut.append(connection)
        else:
            answer(200, issuer.revocations().encode())(connection)

    server.handler = handle
    auth = Authenticator(issuer=server.url, revocations=True)
    auth.start()
    while not held:
        time.sleep(0.01)
    # As if the thread were taking a list at this moment.
    auth._revocations._lock.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        good = auth.verify(issuer.token(sid="s1")).id == "user-1"
        auth.close()
        os._exit(0 if good else 1)
    auth._revocations._lock.release()
    _, status = os.waitpid(child, 0)
    parents = held[0]
    # A cut is seen by another thread. The parent cuts its own after that, which shows that cuts are seen at all.
    time.sleep(0.2)
    early = parents in cut
    auth.close()
    while parents not in cut:
        time.sleep(0.01)
    os._exit(os.waitstatus_to_exitcode(status) or (2 if early else 0))
"""


@pytest.mark.parametrize("program", [PROGRAM, FOLLOWER], ids=["keys", "revocations"])
def test_a_worker_neither_waits_for_a_thread_of_its_parent_nor_cuts_its_connection(program: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", program, str(Path(__file__).parent)]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert (done.returncode, done.stderr) == (0, "")
