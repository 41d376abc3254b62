"""Servers that fork their workers, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_a_worker_does_not_wait_for_a_thread_of_its_parent() -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(Path(__file__).parent)]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert (done.returncode, done.stderr) == (0, "")
