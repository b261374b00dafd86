"""Sockets, TLS, name lookups and deadlines: how bytes get to a server and back.

Everything that waits goes through `waiting.Waiter`, in a form for threads and one for asyncio.
"""
