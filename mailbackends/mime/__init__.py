"""A message as bytes: addresses, header fields, bodies, attachments and their encodings.

Nothing here knows SMTP. `email_internals` is the only module that uses private names of the
standard library's email package.
"""
