-- The first schema. Portable on purpose (a PostgreSQL twin comes later): BIGINT, TEXT and BLOB only, flags as
-- 0 and 1, times as microseconds since 1970, digests as `algorithm:hex`. Text is compared byte by byte.

-- Bytes that are in the store, each digest once. No row: not there.
CREATE TABLE blob (
    digest TEXT NOT NULL PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    is_manifest BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    -- Set: on its way out. Cleared again when somebody wants it.
    condemned_at BIGINT,
    -- 1: its file is being unlinked, so that only new bytes bring it back.
    is_going BIGINT NOT NULL
);
CREATE INDEX blob_by_age ON blob (last_used, is_manifest, digest) WHERE condemned_at IS NULL;
CREATE INDEX blob_condemned ON blob (condemned_at, digest) WHERE condemned_at IS NOT NULL;

-- A digest under a name. Outlives its bytes: what is known of it (private to whom) must not be lost with them.
CREATE TABLE content (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    -- The first segment of the name.
    repository TEXT NOT NULL,
    is_manifest BIGINT NOT NULL,
    size_bytes BIGINT,
    media_type TEXT,
    -- The scope of the credential it was fetched with; NULL: none was needed.
    private_to TEXT,
    since BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    -- 1: blob has this digest, not condemned. Kept here so that the oldest of a repository are found by index.
    is_kept BIGINT NOT NULL,
    PRIMARY KEY (name, digest)
);
CREATE INDEX content_by_digest ON content (digest, name);
CREATE INDEX content_by_age ON content (repository, last_used, is_manifest, name, digest) WHERE is_kept = 1;
CREATE INDEX content_not_kept ON content (last_used) WHERE is_kept = 0;

CREATE TABLE tag (
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    checked_at BIGINT NOT NULL,
    moved_at BIGINT NOT NULL,
    -- Since when the upstream says, with authority, that it is not there.
    gone_since BIGINT,
    PRIMARY KEY (name, tag)
);
CREATE INDEX tag_by_digest ON tag (digest, name, tag);

-- What a manifest's bytes say; the same under every name.
CREATE TABLE manifest (
    digest TEXT NOT NULL PRIMARY KEY,
    media_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT,
    artifact_type TEXT,
    annotations TEXT NOT NULL
);
CREATE INDEX manifest_by_subject ON manifest (subject, digest) WHERE subject IS NOT NULL;

-- What a manifest lists.
CREATE TABLE edge (
    parent TEXT NOT NULL,
    position BIGINT NOT NULL,
    child TEXT NOT NULL,
    role TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (parent, child, role)
);
CREATE INDEX edge_by_child ON edge (child, parent);

-- Kept answers of upstreams: `tags`, `referrers:<digest>`.
CREATE TABLE listing (
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    body BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, what)
);

-- The reference is a tag or a digest; a digest has a colon, a tag has none.
CREATE TABLE pin (
    name TEXT NOT NULL,
    reference TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (name, reference)
);
CREATE INDEX pin_by_reference ON pin (reference, name);

CREATE TABLE revision (
    digest TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    source TEXT NOT NULL,
    documents BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    first_activated BIGINT NOT NULL,
    last_activated BIGINT NOT NULL
);

CREATE TABLE job (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    spec_json TEXT NOT NULL,
    state TEXT NOT NULL,
    progress_json TEXT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);
CREATE INDEX job_by_age ON job (created, id);
