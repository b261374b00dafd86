"""For the tests of applications: a real SMTP server on loopback (`mailbackends.testing.server`).

Needs aiosmtpd: ``pip install "mailbackends[testing]"``. The pytest fixtures are in
`mailbackends.testing.plugin`, which pytest finds by itself; nothing is imported here, so
that they cost nothing where they are not used.
"""
