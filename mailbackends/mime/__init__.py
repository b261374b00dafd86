"""Everything that turns a message into bytes; nothing here knows SMTP.

- ``address``, ``idna``: addresses in envelopes and header fields, domains as A-labels.
- ``headers``: the checks of header fields. ``words``, ``address_field``, ``folding``: their values
  as words, and the words as lines. ``fields``: the same without header objects.
- ``pieces``: what a content consists of: CRLF lines, base64 blocks, multiparts.
- ``serializer``, ``attachment``, ``reencoding``: message objects to bytes, files read while they
  are sent, bodies that cannot be sent as they are.
- ``plain``: plain message objects, read in one pass for the checks, the envelope and the bytes.
- ``writer``: plain messages written without objects.
- ``content``: the result, for BDAT and DATA.
- ``email_internals``: the only module that uses private names of the email package.
"""
