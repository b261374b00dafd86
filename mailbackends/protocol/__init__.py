"""SMTP as pure generators: bytes in, bytes out, without sockets, clocks, locks or logs.

`session` has the bytes and the state of a connection, `dialogue` what is sent before and after
messages, `transaction` a message. Everything that SMTP requires belongs here, and only here.
"""
