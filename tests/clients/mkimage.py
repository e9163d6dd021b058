#!/usr/bin/env python3
"""Turns root file systems into OCI images, the same bytes every time.

    mkimage.py image LAYOUT TAG ARCH LAYER.tar...     one image, a layer per tar, gzipped without a time stamp
    mkimage.py index LAYOUT TAG TAG_OF_CHILD...       a multi-architecture index over images of the layout
    mkimage.py extras BASE.tar OUT.tar                a layer with what layers may hold: hard and symbolic links, a
                                                      whiteout of a file below, set-id bits, long and non-ASCII names
    mkimage.py random BYTES SEED OUT.tar              a layer that does not compress

Only what the image specification 1.1 asks for is written: https://github.com/opencontainers/image-spec.
"""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
TAG = "org.opencontainers.image.ref.name"
CHUNK_BYTES = 1 << 20


class Layout:
    """An OCI image layout in a directory."""

    def __init__(self, path):
        self.path = path
        os.makedirs(f"{path}/blobs/sha256", exist_ok=True)
        with open(f"{path}/oci-layout", "w") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)
        self.index_path = f"{path}/index.json"
        self.entries = []
        if os.path.exists(self.index_path):
            with open(self.index_path) as file:
                self.entries = json.load(file)["manifests"]

    def put(self, data, media_type):
        """Stores bytes under their digest and gives the descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{self.path}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def put_layer(self, tar_path):
        """Stores a tar gzipped; gives its descriptor and the digest of the tar itself (the diff id)."""
        part = f"{self.path}/blobs/part"
        diff = hashlib.sha256()
        with open(tar_path, "rb") as source, open(part, "wb") as sink:
            with gzip.GzipFile(filename="", fileobj=sink, mode="wb", compresslevel=1, mtime=0) as packed:
                while chunk := source.read(CHUNK_BYTES):
                    diff.update(chunk)
                    packed.write(chunk)
        digest = hashlib.sha256()
        with open(part, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        size_bytes = os.path.getsize(part)
        shutil.move(part, f"{self.path}/blobs/sha256/{digest.hexdigest()}")
        descriptor = {"mediaType": LAYER, "digest": f"sha256:{digest.hexdigest()}", "size": size_bytes}
        return descriptor, f"sha256:{diff.hexdigest()}"

    def tag(self, descriptor, name):
        """Names a descriptor in the layout's own index, in place of what had that name."""
        self.entries = [e for e in self.entries if e.get("annotations", {}).get(TAG) != name]
        self.entries.append({**descriptor, "annotations": {TAG: name}})
        with open(self.index_path, "w") as file:
            json.dump({"schemaVersion": 2, "manifests": self.entries}, file)

    def tagged(self, name):
        """The descriptor that has this name."""
        for entry in self.entries:
            if entry.get("annotations", {}).get(TAG) == name:
                return {key: value for key, value in entry.items() if key != "annotations"}
        sys.exit(f"mkimage.py: no image {name} in {self.path}")


def to_json(value):
    """JSON with a byte sequence that depends on the value alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def image(layout_path, tag, architecture, *tars):
    """Writes an image of one layer per tar."""
    layout = Layout(layout_path)
    layers = [layout.put_layer(tar) for tar in tars]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.put(to_json(config), CONFIG),
        "layers": [descriptor for descriptor, _ in layers],
    }
    descriptor = layout.put(to_json(manifest), MANIFEST)
    layout.tag({**descriptor, "platform": {"os": "linux", "architecture": architecture}}, tag)
    print(descriptor["digest"])


def index(layout_path, tag, *children):
    """Writes an index over tagged images. Indented, so that whoever parses and prints it again changes its bytes."""
    layout = Layout(layout_path)
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [layout.tagged(child) for child in children]}
    descriptor = layout.put(json.dumps(document, indent=3).encode() + b"\n", INDEX)
    layout.tag(descriptor, tag)
    print(descriptor["digest"])


def extras(base_tar, out):
    """Writes a layer that uses what a tar layer may hold, and deletes one file of the layer below by a whiteout."""
    with tarfile.open(base_tar) as below:
        victim = next(m.name for m in below if m.isfile() and "/doc/" in m.name and m.name.endswith("copyright"))
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:

        def add(name, data=b"", **fields):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), 1_700_000_000, 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        add("srv", type=tarfile.DIRTYPE, mode=0o755)
        add("srv/empty", type=tarfile.DIRTYPE, mode=0o1777)
        add("srv/zero-bytes")
        add("srv/one", b"one\n")
        add("srv/hard-link-to-one", type=tarfile.LNKTYPE, linkname="srv/one")
        add("srv/symlink-to-one", type=tarfile.SYMTYPE, linkname="one", mode=0o777)
        add("srv/dangling", type=tarfile.SYMTYPE, linkname="/nowhere/at/all", mode=0o777)
        add("srv/set-id", b"#!/bin/sh\n", mode=0o6755, uid=1234, gid=5678)
        add("srv/größe-文件", "Größe\n".encode())
        add("srv/" + "long-" * 40 + "name", b"long\n")
        head, name = os.path.split(victim)
        add(f"{head}/.wh.{name}")


def incompressible(size, seed, out):
    """Writes a layer of one file that no compressor shrinks, so that a blob of a known size crosses the plane."""
    data = random.Random(seed).randbytes(int(size))
    with tarfile.open(out, "w") as tar:
        info = tarfile.TarInfo("srv-random.bin")
        info.size, info.mode = len(data), 0o644
        tar.addfile(info, io.BytesIO(data))


COMMANDS = {"image": image, "index": index, "extras": extras, "random": incompressible}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
