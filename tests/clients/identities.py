#!/usr/bin/env python3
"""Keys and signed tokens for the identity suite, with openssl for the arithmetic.

    identities.py jwks KEY.pem KID [USE]              prints a JWK set with the public half of an RSA key
    identities.py token KEY.pem KID SECONDS CLAIMS    prints a JWT (RS256) that ends in SECONDS, which may be negative
"""

import base64
import json
import subprocess
import sys
import time


def b64(data):
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=None):
    """What openssl prints."""
    return subprocess.run(["openssl", *arguments], input=data, check=True, capture_output=True).stdout


def jwks(key, kid, use="sig"):
    """openssl makes RSA keys with the exponent 65537 unless told otherwise."""
    modulus = openssl("rsa", "-in", key, "-noout", "-modulus").decode().strip().split("=")[1]
    entry = {"kty": "RSA", "kid": kid, "use": use, "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}
    if use == "sig":
        entry["alg"] = "RS256"
    return json.dumps({"keys": [entry]})


def token(key, kid, seconds, claims):
    """`iat` and `nbf` lie before an `exp` in the past, so that it is the end alone that is wrong."""
    now = int(time.time())
    body = {"iat": now - 3600, "nbf": now - 3600, "exp": now + int(seconds), **json.loads(claims)}
    head = {"alg": "RS256", "typ": "JWT", "kid": kid}
    signed = ".".join(b64(json.dumps(part).encode()) for part in (head, body))
    return signed + "." + b64(openssl("dgst", "-sha256", "-sign", key, data=signed.encode()))


if __name__ == "__main__":
    commands = {"jwks": jwks, "token": token}
    if len(sys.argv) < 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    print(commands[sys.argv[1]](*sys.argv[2:]))
