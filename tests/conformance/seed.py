#!/usr/bin/env python3
"""Pushes to a registry what the conformance program shall read: an image, an index over two, an artifact, and a referrer.

    seed.py http://HOST:PORT NAME

Prints shell assignments: SEED_TAGS, SEED_MANIFESTS, SEED_BLOBS, SEED_SUBJECTS, SEED_TAG_DIGESTS (tag=digest). The registry has no
referrers API, so the referrer is listed under the tag that the specification gives for such registries.
"""

import hashlib
import json
import sys
import urllib.request

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
NOTE = "application/vnd.example.note"


def descriptor(data, media_type, **more):
    return {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data), **more}


class Registry:
    def __init__(self, base, name):
        self.base, self.name, self.tags, self.manifests, self.blobs = base, name, {}, [], []

    def send(self, method, url, data=None, **headers):
        request = urllib.request.Request(url, data=data, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.headers

    def blob(self, data, media_type):
        found = descriptor(data, media_type)
        started = self.send("POST", f"{self.base}/v2/{self.name}/blobs/uploads/", b"")
        joined = "&" if "?" in started["Location"] else "?"
        self.send("PUT", f"{started['Location']}{joined}digest={found['digest']}", data, Content_Type="application/octet-stream")
        self.blobs.append(found["digest"])
        return found

    def manifest(self, document, tag=None):
        data = json.dumps(document, indent=1).encode()
        found = descriptor(data, document["mediaType"])
        reference = tag or found["digest"]
        self.send("PUT", f"{self.base}/v2/{self.name}/manifests/{reference}", data, Content_Type=document["mediaType"])
        self.manifests.append(found["digest"])
        if tag:
            self.tags[tag] = found["digest"]
        return found

    def image(self, architecture, tag=None, **more):
        layers = [self.blob(f"layer {n} of {architecture}\n".encode() * 400, LAYER) for n in range(2)]
        config = {"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]}}
        config = self.blob(json.dumps(config).encode(), CONFIG)
        return self.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}, tag)


def main(base, name):
    registry = Registry(base, name)
    image = registry.image("amd64", "image")
    children = [{**registry.image(arch), "platform": {"os": "linux", "architecture": arch}} for arch in ("arm64", "s390x")]
    registry.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, "index")
    empty = registry.blob(b"{}", EMPTY)
    note = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": NOTE, "config": empty, "layers": [empty]}
    registry.manifest(note, "artifact")
    referrer = registry.manifest({**note, "subject": image, "annotations": {"org.example.note": "kept"}})
    listed = {**referrer, "artifactType": NOTE, "annotations": {"org.example.note": "kept"}}
    registry.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]}, image["digest"].replace(":", "-"))
    tags = {tag: digest for tag, digest in registry.tags.items() if not tag.startswith("sha256-")}
    print(f"SEED_TAGS='{' '.join(tags)}'")
    print(f"SEED_TAG_DIGESTS='{' '.join(f'{tag}={digest}' for tag, digest in tags.items())}'")
    print(f"SEED_MANIFESTS='{' '.join(dict.fromkeys(registry.manifests))}'")
    print(f"SEED_BLOBS='{' '.join(dict.fromkeys(registry.blobs))}'")
    print(f"SEED_SUBJECTS='{image['digest']}'")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
