"""A fuzzer: servers that say anything. ``python -m tests.fuzz --minutes 10`` runs it.

What comes out of a client may only be a result or a documented exception, whatever the
server says. It needs hypothesis, no server and no network.
"""
