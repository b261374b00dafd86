"""Real servers on loopback for the tests, and what they saw.

`support.server.MailServer` is aiosmtpd: another implementation than ours, with TLS and
login. `support.sink.Sink` is our own small SMTP and LMTP server: it announces what a
test wants, PIPELINING and CHUNKING included, counts round trips and has faults on
demand. `support.scripted.ScriptedServer` plays one conversation word by word.
"""
