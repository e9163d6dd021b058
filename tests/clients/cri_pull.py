#!/usr/bin/env python3
"""Pulls images as the kubelet does: one CRI PullImage call per reference on the runtime's socket.

    cri_pull.py SOCKET REFERENCE...

Prints `REFERENCE -> image id` per image. When a pull fails it prints the text a pod's event would show and exits 1. The messages
(k8s.io/cri-api, runtime/v1/api.proto) have so few fields that they are encoded here by hand.
"""

import sys

import grpc

TIMEOUT_SECONDS = 120


def field(number, payload):
    """A length-delimited protobuf field."""
    length, size = len(payload), b""
    while length > 0x7F:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + payload


def pull_request(reference):
    """PullImageRequest { ImageSpec image = 1 { string image = 1 } }."""
    return field(1, field(1, reference.encode()))


def image_ref(response):
    """The string image_ref = 1 of PullImageResponse; shorter than 128 bytes, so its length is one byte."""
    return response[2 : 2 + response[1]].decode() if response else ""


def main():
    """Pulls every reference; stops at the first that fails."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    socket, references = sys.argv[1], sys.argv[2:]
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        pull = channel.unary_unary(
            "/runtime.v1.ImageService/PullImage",
            request_serializer=lambda message: message,
            response_deserializer=lambda message: message,
        )
        for reference in references:
            try:
                print(reference, "->", image_ref(pull(pull_request(reference), timeout=TIMEOUT_SECONDS)))
            except grpc.RpcError as error:
                sys.exit(f'Failed to pull image "{reference}": rpc error: code = {error.code().name} desc = {error.details()}')


if __name__ == "__main__":
    main()
