"""SASL mechanisms for SMTP's AUTH (RFC 4422, RFC 4954): challenge to response.

Pure: bytes in, bytes out, before base64. What `choose` returns is tried in its order,
one fresh `Mechanism` for each attempt.
"""

from mailbackends.protocol.sasl.choose import MECHANISMS, choose
from mailbackends.protocol.sasl.codec import (
    MAX_CHALLENGE,
    decode_challenge,
    encode_initial_response,
    encode_response,
)
from mailbackends.protocol.sasl.credentials import Credentials
from mailbackends.protocol.sasl.errors import SASLCredentialsError, SASLError, SASLServerError
from mailbackends.protocol.sasl.external import External
from mailbackends.protocol.sasl.mechanism import Mechanism
from mailbackends.protocol.sasl.oauth import OAuthBearer, XOAuth2
from mailbackends.protocol.sasl.password import CramMD5, Login, Plain
from mailbackends.protocol.sasl.saslprep import saslprep
from mailbackends.protocol.sasl.scram import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    ScramSHA1,
    ScramSHA256,
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
