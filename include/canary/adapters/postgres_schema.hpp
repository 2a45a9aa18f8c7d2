// postgres_schema.hpp: the tables of a PostgreSQL store, and what guards them. Layer adapters. Part of
// postgres_store.hpp. Other programs may write here too, and people at a prompt: what must never be broken is held by
// constraints and triggers, not by this program's good manners. They are
//   a task        its revision goes up by 1, each time with a row of history; the sum of its weights is kept by triggers,
//                 at most the whole; it cannot go away
//   a version     numbered in turn; keeps its number; cannot go away; ARCHIVED is the end: no weight, no other status
//   history       has no gaps, is never changed and never cut
//   a job         is as job_row.hpp says
// A restore sets canary.replacing for its own transaction, which lets rows go away and tasks begin at any revision.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace canary {

/// Brings a PostgreSQL store's schema from one number to the next: SQL statements, one transaction.
struct PostgresMigration {
  std::string_view sql;
};

namespace detail {

// Names sort by their bytes on every server. Texts are never null: empty says the same.
inline constexpr std::string_view postgres_schema_1 = R"sql(
CREATE TABLE canary_store (
  id integer PRIMARY KEY CHECK (id = 1),
  schema integer NOT NULL CHECK (schema > 0),
  token text NOT NULL CHECK (token <> ''),
  change bigint NOT NULL CHECK (change >= 0)
);
CREATE TABLE canary_tasks (
  name text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
  revision bigint NOT NULL CHECK (revision BETWEEN 1 AND 4294967295),
  version_count integer NOT NULL DEFAULT 0 CHECK (version_count BETWEEN 0 AND 65000),
  allocated_ppm integer NOT NULL DEFAULT 0 CONSTRAINT "weights over 100 %" CHECK (allocated_ppm BETWEEN 0 AND 1000000),
  partition text NOT NULL,
  change bigint NOT NULL DEFAULT 0
);
CREATE INDEX canary_tasks_change ON canary_tasks (change);
CREATE TABLE canary_versions (
  task text COLLATE "C" NOT NULL REFERENCES canary_tasks (name),
  number integer NOT NULL CHECK (number BETWEEN 1 AND 65000),
  model text NOT NULL,
  provider text NOT NULL,
  status text NOT NULL CHECK (status IN ('CANDIDATE', 'ACTIVE', 'DEPRECATED', 'ARCHIVED')),
  weight_ppm integer NOT NULL CHECK (weight_ppm BETWEEN 0 AND 1000000),
  note text NOT NULL,
  created_at_us bigint NOT NULL,
  changed_at_us bigint NOT NULL,
  shutdown_date text NOT NULL,
  job text NOT NULL,
  training_file_hash text NOT NULL,
  base_model text NOT NULL,
  prompt_version text NOT NULL,
  PRIMARY KEY (task, number),
  CHECK (status <> 'ARCHIVED' OR weight_ppm = 0)
);
CREATE INDEX canary_versions_status ON canary_versions (task, status);
CREATE INDEX canary_versions_weight ON canary_versions (task, weight_ppm);
CREATE INDEX canary_versions_model ON canary_versions USING hash (model);  -- of any length
CREATE TABLE canary_history (
  task text COLLATE "C" NOT NULL REFERENCES canary_tasks (name),
  revision bigint NOT NULL,
  commit_id text NOT NULL,
  at_us bigint NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  number bigint NOT NULL,
  note text NOT NULL,
  partition text NOT NULL,
  points_moved bigint NOT NULL CHECK (points_moved >= 0),
  points_minimum bigint NOT NULL CHECK (points_minimum >= 0),
  restores bigint NOT NULL,
  status_changes text NOT NULL,
  evidence text NOT NULL,
  PRIMARY KEY (task, revision)
);

CREATE FUNCTION canary_replacing() RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT coalesce(current_setting('canary.replacing', true), '') = 'on' $$;

CREATE FUNCTION canary_refuse(what text) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', what USING ERRCODE = 'check_violation'; END $$;

CREATE FUNCTION canary_keep() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT canary_replacing() OR TG_OP <> 'DELETE' THEN
    PERFORM canary_refuse('rows of ' || TG_TABLE_NAME || ' stay: no ' || TG_OP);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION canary_store_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.change < OLD.change THEN PERFORM canary_refuse('the count of changes never goes back'); END IF;
  IF NEW.token <> OLD.token AND NOT canary_replacing() THEN
    PERFORM canary_refuse('the epoch token changes by a restore only');
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION canary_task_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.name <> OLD.name THEN PERFORM canary_refuse('a task keeps its name'); END IF;
  IF NEW.revision NOT IN (OLD.revision, OLD.revision + 1) THEN
    PERFORM canary_refuse('the revision of a task goes up by 1');
  END IF;
  IF NEW.revision = OLD.revision AND NEW.partition <> OLD.partition THEN
    PERFORM canary_refuse('a new partition is a new revision');
  END IF;
  IF (NEW.allocated_ppm <> OLD.allocated_ppm OR NEW.version_count <> OLD.version_count) AND pg_trigger_depth() < 2 THEN
    PERFORM canary_refuse('the sum of the weights and the count of versions are kept by triggers');
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION canary_task_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF (NEW.revision <> 1 OR NEW.allocated_ppm <> 0 OR NEW.version_count <> 0) AND NOT canary_replacing() THEN
    PERFORM canary_refuse('a task begins at revision 1, without versions');
  END IF;
  RETURN NEW;
END $$;

-- At the end of a transaction, when the rows that belong to it have had their chance.
CREATE FUNCTION canary_task_done() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM canary_history WHERE task = NEW.name AND revision = NEW.revision) THEN
    PERFORM canary_refuse('revision ' || NEW.revision || ' of task ' || NEW.name || ' has no row of history');
  END IF;
  IF TG_OP = 'INSERT' AND EXISTS (SELECT FROM canary_tasks t,
      LATERAL (SELECT count(*) AS rows, coalesce(max(v.number), 0) AS last, coalesce(sum(v.weight_ppm), 0) AS sum_ppm
        FROM canary_versions v WHERE v.task = t.name) AS have
      WHERE t.name = NEW.name
        AND (t.version_count, t.version_count, t.allocated_ppm) <> (have.rows, have.last, have.sum_ppm)) THEN
    PERFORM canary_refuse('the versions of task ' || NEW.name || ' are not those that it counts');
  END IF;
  RETURN NULL;
END $$;

-- A restore counts for itself, since each update of a row takes longer than the one before until the transaction ends.
CREATE FUNCTION canary_version_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF canary_replacing() THEN RETURN NEW; END IF;
  UPDATE canary_tasks SET version_count = NEW.number, allocated_ppm = allocated_ppm + NEW.weight_ppm
    WHERE name = NEW.task AND version_count = NEW.number - 1;
  IF NOT FOUND THEN PERFORM canary_refuse('a version''s number is out of turn'); END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION canary_version_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.task <> OLD.task OR NEW.number <> OLD.number THEN
    PERFORM canary_refuse('a version keeps its task and number');
  END IF;
  IF OLD.status = 'ARCHIVED' AND NEW.status <> 'ARCHIVED' THEN PERFORM canary_refuse('ARCHIVED is the end'); END IF;
  IF NEW.weight_ppm <> OLD.weight_ppm THEN
    UPDATE canary_tasks SET allocated_ppm = allocated_ppm + NEW.weight_ppm - OLD.weight_ppm WHERE name = NEW.task;
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION canary_history_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  task_revision bigint;
BEGIN
  SELECT revision INTO task_revision FROM canary_tasks WHERE name = NEW.task FOR UPDATE;
  IF NEW.revision > task_revision OR (NEW.revision <> task_revision AND NOT canary_replacing())
      OR (NEW.revision <> 1
        AND NOT EXISTS (SELECT FROM canary_history WHERE task = NEW.task AND revision = NEW.revision - 1)) THEN
    PERFORM canary_refuse('history has no gaps');
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER canary_store_update BEFORE UPDATE ON canary_store FOR EACH ROW EXECUTE FUNCTION canary_store_update();
CREATE TRIGGER canary_store_keep BEFORE DELETE OR TRUNCATE ON canary_store EXECUTE FUNCTION canary_keep();
CREATE TRIGGER canary_task_insert BEFORE INSERT ON canary_tasks FOR EACH ROW EXECUTE FUNCTION canary_task_insert();
CREATE TRIGGER canary_task_update BEFORE UPDATE ON canary_tasks FOR EACH ROW EXECUTE FUNCTION canary_task_update();
CREATE TRIGGER canary_task_keep BEFORE DELETE OR TRUNCATE ON canary_tasks EXECUTE FUNCTION canary_keep();
CREATE CONSTRAINT TRIGGER canary_task_inserted AFTER INSERT ON canary_tasks DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION canary_task_done();
CREATE CONSTRAINT TRIGGER canary_task_updated AFTER UPDATE ON canary_tasks DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.revision <> OLD.revision) EXECUTE FUNCTION canary_task_done();
CREATE TRIGGER canary_version_insert BEFORE INSERT ON canary_versions
  FOR EACH ROW EXECUTE FUNCTION canary_version_insert();
CREATE TRIGGER canary_version_update BEFORE UPDATE ON canary_versions
  FOR EACH ROW EXECUTE FUNCTION canary_version_update();
CREATE TRIGGER canary_version_keep BEFORE DELETE OR TRUNCATE ON canary_versions EXECUTE FUNCTION canary_keep();
CREATE TRIGGER canary_history_insert BEFORE INSERT ON canary_history
  FOR EACH ROW EXECUTE FUNCTION canary_history_insert();
CREATE TRIGGER canary_history_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON canary_history
  EXECUTE FUNCTION canary_keep();
)sql";

// Interactions are many: no constraint is checked for each, and no index but the one on ids, which rise. A table for
// each day of ids is made when it is needed (postgres_days.hpp), so that old days can be dropped.
inline constexpr std::string_view postgres_schema_2 = R"sql(
ALTER TABLE canary_tasks ADD COLUMN epoch text NOT NULL DEFAULT '', ADD COLUMN rollouts text NOT NULL DEFAULT '';
ALTER TABLE canary_history ADD COLUMN epoch text NOT NULL DEFAULT '', ADD COLUMN rollouts text NOT NULL DEFAULT '';
CREATE TABLE canary_recorded_tasks (
  number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE CHECK (name <> '')
);
CREATE TABLE canary_spools (
  serial bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (serial <= 4294967295),
  spool text NOT NULL UNIQUE,
  node integer NOT NULL UNIQUE CHECK (node BETWEEN 0 AND 4095),
  generation bigint NOT NULL DEFAULT 0,
  at_us bigint NOT NULL,
  lanes bytea NOT NULL DEFAULT ''
);
CREATE TABLE canary_interactions (
  id bigint PRIMARY KEY,
  at_us bigint NOT NULL,
  task bigint NOT NULL,
  revision bigint NOT NULL,
  point bigint NOT NULL,
  number integer NOT NULL,
  reason smallint NOT NULL,
  error smallint NOT NULL,
  latency_us bigint,
  score bigint,
  rescored boolean NOT NULL DEFAULT false,  -- by feedback, which happens once
  tokens_in bigint NOT NULL,
  tokens_out bigint NOT NULL,
  cost_microusd bigint NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE canary_payloads (
  id bigint PRIMARY KEY,
  request text NOT NULL,
  response text NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE canary_counts (
  kind smallint NOT NULL,
  task bigint NOT NULL,
  "of" bigint NOT NULL,
  "at" bigint NOT NULL,
  serial bigint NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (kind, task, "of", "at", serial)
);
CREATE TABLE canary_units (
  task bigint NOT NULL,
  life bigint NOT NULL,
  point bigint NOT NULL,
  id bigint NOT NULL,
  settled boolean NOT NULL,
  PRIMARY KEY (task, life, point)
) WITH (fillfactor = 50);  -- each row is settled once: there is room for that beside it, and no index is touched
CREATE TABLE canary_waiting_feedback (
  id bigint PRIMARY KEY,
  at_us bigint NOT NULL,
  score bigint NOT NULL
);
CREATE INDEX canary_waiting_feedback_at ON canary_waiting_feedback (at_us, id);
CREATE TABLE canary_jobs (
  id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,40}$'),
  task text COLLATE "C" NOT NULL CHECK (task <> ''),
  provider text NOT NULL,
  provider_job_id text NOT NULL,
  status text NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  phase text NOT NULL CHECK (phase IN ('stored', 'creating', 'following', 'closed')),
  revision bigint NOT NULL CHECK (revision > 0),
  created_at_us bigint NOT NULL,
  changed_at_us bigint NOT NULL,
  version integer NOT NULL CHECK (version BETWEEN 0 AND 65000),
  job text NOT NULL,  -- the whole row
  CONSTRAINT "a version without success" CHECK (version = 0 OR status = 'SUCCEEDED'),
  CONSTRAINT "closed and not ended" CHECK (phase <> 'closed' OR status IN ('SUCCEEDED', 'FAILED', 'CANCELLED'))
);
CREATE INDEX canary_jobs_task ON canary_jobs (task, created_at_us, id);
CREATE INDEX canary_jobs_open ON canary_jobs (created_at_us, id) WHERE phase <> 'closed';
CREATE UNIQUE INDEX canary_jobs_version ON canary_jobs (task, version) WHERE version <> 0;

CREATE FUNCTION canary_job_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF (NEW.revision <> 1 OR NEW.version <> 0) AND NOT canary_replacing() THEN
    PERFORM canary_refuse('a job begins at revision 1, without a version');
  END IF;
  RETURN NEW;
END $$;

CREATE FUNCTION canary_job_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.id <> OLD.id OR NEW.task <> OLD.task THEN PERFORM canary_refuse('a job keeps its id and its task'); END IF;
  IF NEW.revision <> OLD.revision + 1 THEN PERFORM canary_refuse('the revision of a job goes up by 1'); END IF;
  IF NEW.status <> OLD.status AND OLD.status IN ('SUCCEEDED', 'FAILED', 'CANCELLED') THEN
    PERFORM canary_refuse('a job that has ended stays as it ended');
  END IF;
  IF NEW.version <> OLD.version AND (OLD.version <> 0
      OR NOT EXISTS (SELECT FROM canary_versions WHERE task = NEW.task AND number = NEW.version)) THEN
    PERFORM canary_refuse('a job gets one version, which is there');
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER canary_job_insert BEFORE INSERT ON canary_jobs FOR EACH ROW EXECUTE FUNCTION canary_job_insert();
CREATE TRIGGER canary_job_update BEFORE UPDATE ON canary_jobs FOR EACH ROW EXECUTE FUNCTION canary_job_update();
CREATE TRIGGER canary_job_keep BEFORE DELETE OR TRUNCATE ON canary_jobs EXECUTE FUNCTION canary_keep();
)sql";

/// The first schema that keeps epochs, rollouts, interactions and jobs.
inline constexpr std::uint32_t postgres_records_from = 2;

inline constexpr PostgresMigration postgres_migrations[] = {{postgres_schema_1}, {postgres_schema_2}};

}  // namespace detail

/// Every schema that there has been. A program reads and writes the newest and the one before, both as they stand.
struct PostgresSchema {
  std::span<const PostgresMigration> migrations = detail::postgres_migrations;  ///< the first makes schema 1 of nothing

  [[nodiscard]] std::uint32_t number() const noexcept { return static_cast<std::uint32_t>(migrations.size()); }
};

}  // namespace canary
