-- Hosted repositories: content that must not be lost, names as rows of their own, how much a repository holds.

-- 1: pushed here, or adopted. Such a row goes only when a client deletes it or collection finds that nothing needs it.
ALTER TABLE content ADD COLUMN is_hosted BIGINT NOT NULL DEFAULT 0;
-- 1: some hosted content row has this digest, so its bytes are nobody's victim.
ALTER TABLE blob ADD COLUMN is_held BIGINT NOT NULL DEFAULT 0;

-- Who holds a digest, and who of them as hosted, without a look at the rows.
DROP INDEX content_by_digest;
CREATE INDEX content_by_digest ON content (digest, name, is_hosted);
-- Hosted, and its bytes are not in the store: to be told to people.
CREATE INDEX content_lost ON content (name, digest) WHERE is_hosted = 1 AND is_kept = 0;

DROP INDEX blob_by_age;
CREATE INDEX blob_by_age ON blob (last_used, is_manifest, digest) WHERE condemned_at IS NULL AND is_held = 0;

-- A name with content or tags.
CREATE TABLE name (
    name TEXT NOT NULL PRIMARY KEY,
    -- Its first segment.
    repository TEXT NOT NULL,
    -- The number of the last change of its hosted manifests, tags or pins. What was read under one number and is
    -- written under the same fits together.
    change BIGINT NOT NULL
);
CREATE INDEX name_by_repository ON name (repository, name);

-- Numbers never used twice, so that a name that goes and comes back has another one.
CREATE TABLE counter (
    what TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (what, value) VALUES ('change', 1);

-- Sums over the hosted content rows of a repository, kept with each change of them: a push asks for them.
CREATE TABLE hosted_use (
    repository TEXT NOT NULL PRIMARY KEY,
    entries BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- INSTR is SQLite's: no other database has a first version of this to come from.
INSERT INTO name (name, repository, change)
SELECT name, SUBSTR(name, 1, INSTR(name || '/', '/') - 1), 1
FROM (SELECT name FROM content UNION SELECT name FROM tag);
