"""The client in five lines: open a session, stream a chorale, print how surprising each frame was.

avf serve --model chorales &
python examples/quickstart.py http://127.0.0.1:8000 chorales
"""

import sys

import avf_sources as sources
from avf_client import Client

frames = sources.read("corpus:bach/bwv350").frames  # (72, 88): quarter notes by piano keys
with Client(sys.argv[1]) as client, client.session(model=sys.argv[2]) as session:
    for estimate in session.stream(frames):
        print(f"frame {estimate.seq}: F = {estimate.free_energy:.2f} nats, of it KL {estimate.kl:.2f}")
