"""Real servers on loopback for the tests, and what they saw.

`support.server.MailServer` is aiosmtpd, an independent implementation, with TLS and login.
`support.sink.Sink` is our own small SMTP and LMTP server: it announces what a test asks for,
including PIPELINING and CHUNKING, counts round trips and fails on demand.
`support.scripted.ScriptedServer` plays one conversation word by word.
"""
