"""Everything that turns a message into bytes; nothing here knows SMTP.

- ``address``, ``idna``: addresses in envelopes and header fields, domains as A-labels.
- ``headers``, ``folding``: the checks of header fields, and fields as lines.
- ``pieces``: what a content consists of: CRLF lines, base64 blocks, multiparts.
- ``serializer``, ``attachment``: message objects to bytes, files read while they are sent.
- ``writer``: plain messages written without objects.
- ``content``: the result, for BDAT and DATA.
- ``email_internals``: the only module that uses private names of the email package.
"""
