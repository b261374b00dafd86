"""Help for the tests of applications: a real SMTP server on loopback, and assertions.

Needs aiosmtpd: ``pip install "mailbackends[testing]"``. The pytest fixtures are in
`mailbackends.testing.plugin`, which pytest loads automatically. Nothing is imported here, so
that they cost nothing if they are not used.
"""
