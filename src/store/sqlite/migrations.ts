/**
 * What a database file looks like, as the steps that made it so. A step that has been released is never changed: what
 * files out there look like depends on it. `user_version` counts the steps a file has taken.
 */
export const MIGRATIONS: readonly string[] = [
  // 1: objects, and what was deleted for those who were away.
  `
  CREATE TABLE objects (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    organization TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, id)
  ) WITHOUT ROWID;
  CREATE INDEX objects_version ON objects (version);
  CREATE INDEX objects_organization ON objects (kind, organization, id);
  CREATE TABLE deletions (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
  ) WITHOUT ROWID;
  CREATE INDEX deletions_version ON deletions (version);
  -- sequence: of the last transaction. floor: the oldest sequence whose successors are all known.
  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT INTO counters VALUES ('sequence', 0), ('floor', 0);
  `,
  // 2: what is remembered for a while, and work that waits. Only the first item of a lane has a time at which it is due.
  `
  CREATE TABLE memory (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    expires_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX memory_expiry ON memory (expires_at);
  CREATE TABLE queue (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    lane TEXT NOT NULL,
    payload TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    UNIQUE (queue, id)
  );
  CREATE INDEX queue_lane ON queue (queue, lane, position);
  CREATE INDEX queue_due ON queue (queue, due_at, position) WHERE due_at IS NOT NULL;
  `,
];
