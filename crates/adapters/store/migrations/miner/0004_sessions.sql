-- When the validator opened its sessions of the last hour, as a JSON list; empty where no limit asks for it.
ALTER TABLE validators ADD COLUMN sessions_opened TEXT NOT NULL DEFAULT '[]';

-- Why a session ended before its time; null for those that ended before this was recorded.
ALTER TABLE sessions ADD COLUMN ended_why TEXT CHECK (ended_why IN ('replaced', 'revoked', 'shutdown'));
