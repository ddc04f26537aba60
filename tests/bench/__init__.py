"""Speed and size, each beside a peer, measured in one run: `python -m tests.bench`."""
