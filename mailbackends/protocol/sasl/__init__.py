"""SASL mechanisms for the AUTH command (RFC 4422, RFC 4954): challenge in, response out.

Pure: bytes in, bytes out, before base64. The mechanisms that `choose` returns are tried in
order, with a new `Mechanism` for each attempt. A new mechanism goes to `simple` or to a file
beside `scram`, and into `MECHANISMS`.
"""

from mailbackends.protocol.sasl.choose import MECHANISMS, choose
from mailbackends.protocol.sasl.errors import (
    SASLCredentialsError,
    SASLError,
    SASLRestartError,
    SASLServerError,
)
from mailbackends.protocol.sasl.mechanism import (
    MAX_CHALLENGE,
    Credentials,
    Mechanism,
    decode_challenge,
    encode_initial_response,
    encode_response,
)
from mailbackends.protocol.sasl.saslprep import saslprep
from mailbackends.protocol.sasl.scram import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    ScramSHA1,
    ScramSHA256,
)
from mailbackends.protocol.sasl.simple import (
    CramMD5,
    External,
    Login,
    OAuthBearer,
    Plain,
    XOAuth2,
)

__all__ = [
    "MAX_CHALLENGE",
    "MAX_ITERATIONS",
    "MECHANISMS",
    "MIN_ITERATIONS",
    "CramMD5",
    "Credentials",
    "External",
    "Login",
    "Mechanism",
    "OAuthBearer",
    "Plain",
    "SASLCredentialsError",
    "SASLError",
    "SASLRestartError",
    "SASLServerError",
    "ScramSHA1",
    "ScramSHA256",
    "XOAuth2",
    "choose",
    "decode_challenge",
    "encode_initial_response",
    "encode_response",
    "saslprep",
]
