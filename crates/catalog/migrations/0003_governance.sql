-- What decisions leave behind: who was served what where, since when a refusal is softened, who may have which blobs.

-- An environment was served a digest under a name, first and last. Outlives the content row: what runs somewhere runs on
-- when the cache has forgotten it.
CREATE TABLE admission (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    environment TEXT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (name, digest, environment)
);
-- What an environment was served, page by page.
CREATE INDEX admission_by_environment ON admission (environment, name, digest);
CREATE INDEX admission_by_age ON admission (last);

-- Since when a policy's refusal is only a warning, because the environment runs the digest already.
CREATE TABLE softening (
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    environment TEXT NOT NULL,
    policy TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (name, digest, environment, policy)
);
CREATE INDEX softening_by_age ON softening (since);

-- A principal was permitted a manifest in a setting, so that it may have what the manifest reaches; or pushed a blob.
-- The name comes first in the key, so that all leases under a name can be dropped by it.
CREATE TABLE lease (
    principal TEXT NOT NULL,
    setting TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (name, digest, principal, setting)
);
CREATE INDEX lease_by_age ON lease (used);
