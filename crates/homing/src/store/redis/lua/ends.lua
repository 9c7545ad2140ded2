-- Ends: of a task, by itself or from outside, and what follows. The first terminal write wins.
--
-- An outcome is a letter and what it is: `j` and JSON that the worker has made, or `f` and what the process makes
-- a failure of when it reads it: reason, attempt, kind, and a text or a number.

local CANCELLED_REASON, EXPIRED, DEADLINE, CRASHED = 0, 1, 2, 3

local function failure_blob(reason, row, more)
  return 'f' .. cmsgpack.pack({ reason, row.attempt, birth(row.id).kind, more })
end

-- Lines of a job's log. `line`: time, level, own, what it is, and what it says.
local TEXT, CRASH_LINE, FAILED_LINE, DROPPED_LINE = 0, 1, 2, 3
local WARN, ERROR = 3, 4

local function write_line(row, key, time, level, what, says)
  local id = row.id
  local job = job_of(id)
  -- Ten bytes of a hash: two lines of a job are taken for one another in no universe that lasts.
  local identity = string.sub(redis.sha1hex(own_of(id) .. key), 1, 20)
  if not identify(job, identity) then
    return
  end
  touch(row)
  local log = log_of(job)
  if row.lines < LOG_LINES then
    row.lines = row.lines + 1
    log.new[#log.new + 1] = cmsgpack.pack({ time, level, own_of(id), what, says })
    log.length = log.length + 1
    if string.sub(key, 1, 1) == '\2' then
      -- It tells of a failed attempt or a standstill.
      local field = 'f' .. own_of(id)
      put(LANE .. 'j:' .. job, field, (get(LANE .. 'j:' .. job, field) or '') .. u32(log.length))
    end
    return
  end
  row.dropped = row.dropped + 1
  local line = cmsgpack.pack({ time, WARN, own_of(id), DROPPED_LINE, row.dropped })
  if row.dropped == 1 then
    log.new[#log.new + 1] = line
    log.length = log.length + 1
    row.drop_line = log.length
  else
    -- The line keeps the time of the first that was dropped.
    local index = row.drop_line - 1
    local old = index >= log.old and log.new[index - log.old + 1]
      or log.over[index]
      or redis.call('LINDEX', LANE .. 'g:' .. job, index)
    local kept = cmsgpack.unpack(old)
    kept[5] = row.dropped
    if index >= log.old then
      log.new[index - log.old + 1] = cmsgpack.pack(kept)
    else
      log.over[index] = cmsgpack.pack(kept)
    end
  end
end

-- Cascades: children still to be cancelled, all of a task's or those of one set below a number. A member of the
-- index: number, task, set, below, by. A parent's `x` field lists its own.
local cascades_added = {}

local function add_cascade(id, set, below, by)
  local number = tonumber(get(K.meta, 'n') or '0') + 1
  put(K.meta, 'n', string.format('%.0f', number))
  local member = cmsgpack.pack({ number, id, set, below, by })
  zadd(K.cascades, member, number)
  cascades_added[#cascades_added + 1] = member
  local field = 'x' .. own_of(id)
  local blob = get(key_of(id), field)
  local falls = blob and cmsgpack.unpack(blob) or {}
  falls[#falls + 1] = { number, set, below }
  put(key_of(id), field, cmsgpack.pack(falls))
  local job = job_row(job_of(id))
  job.cascades, job.dirty = job.cascades + 1, true
end

local function remove_cascade(member)
  local cascade = cmsgpack.unpack(member)
  local id = cascade[2]
  zrem(K.cascades, member)
  local field = 'x' .. own_of(id)
  local falls = {}
  local blob = get(key_of(id), field)
  for _, fall in ipairs(blob and decode(blob) or {}) do
    if fall[1] ~= cascade[1] then
      falls[#falls + 1] = fall
    end
  end
  put(key_of(id), field, #falls > 0 and cmsgpack.pack(falls))
  local job = job_row(job_of(id))
  job.cascades, job.dirty = job.cascades - 1, true
end

-- A worker is told in every reply that a task of its has ended, until it says that it has heard.
local function notices_of(worker)
  local blob = get(K.notices, worker)
  return blob and cmsgpack.unpack(blob) or {}
end

local function keep_notices(worker, notices)
  put(K.notices, worker, #notices > 0 and cmsgpack.pack(notices))
end

local function notify(worker, id, claim)
  local notices = notices_of(worker)
  notices[#notices + 1] = { id, claim, false }
  keep_notices(worker, notices)
  told.noticed = true
end

-- The children of a job's tasks that failed or were cancelled, by parent, set and number: what a retry looks at.
local function fallen_key(id)
  return LANE .. 'f:' .. job_of(id)
end

local function fallen_member(row, b)
  return b.parent .. b.set .. u32(b.number) .. own_of(row.id)
end

local function number_end(row, b, state, by)
  local parent = job_of(row.id) .. b.parent
  local counts = change_counts(parent, b.set)
  if state == SUCCEEDED then
    counts.succeeded = counts.succeeded + 1
  elseif state == FAILED then
    counts.failed = counts.failed + 1
  elseif by == BY_ABORT or by == BY_POLICY then
    counts.aborted = counts.aborted + 1
  else
    counts.cancelled = counts.cancelled + 1
  end
  counts.last_end = counts.last_end + 1
  row.end_number = counts.last_end
  write(key_of(row.id), 'd' .. b.parent .. b.set .. u64(counts.last_end), own_of(row.id))
  if state ~= SUCCEEDED then
    zadd(fallen_key(row.id), fallen_member(row, b), 0)
  end
  if not counts.to_check then
    counts.to_check = true
    parents_to_check[#parents_to_check + 1] = counts
  end
end

local function end_job(row, state, outcome)
  local job = job_of(row.id)
  local about = get(JOB_KEYS .. job, 'j')
  local key = about and cmsgpack.unpack(about)[2]
  -- After a job's retry the key may be another open job's.
  if key and get(K.keys, key) == job then
    put(K.keys, key, false)
  end
  append(K.settled, job, now)
  local at = #told.ended
  told.ended[at + 1], told.ended[at + 2] = job, state
  told.ended[at + 3] = state == SUCCEEDED and #outcome <= 1025 and outcome
  over[job] = true
end

-- What follows the failure of a link, a process makes; it is told until it has.
local function follow(row, outcome)
  local number = tonumber(get(K.meta, 'o') or '0') + 1
  local name = string.format('%.0f', number)
  put(K.meta, 'o', name)
  told.follows[name] = true
  put(K.out, name, cmsgpack.pack({
    row.id, arguments_of(birth(row.id)), outcome, now,
  }))
end

-- Ends a task that is open.
local function finish(row, state, outcome, by)
  local b = birth(row.id)
  if row.state >= SUCCEEDED or b.is_broken then
    return false
  end
  touch(row)
  row.state, row.outcome, row.by, row.ended = state, outcome, by or false, now
  clear_waits(row)
  row.holder = false
  if row.worker then
    notify(row.worker, row.id, row.claim)
    row.worker = false
  end
  if state == SUCCEEDED then
    -- A retry's body still wants what it was sent: whoever sent it does not say it again.
    forget_signals(row)
  end
  if state ~= SUCCEEDED and row.children > 0 then
    add_cascade(row.id, false, 4294967295, BY_PARENT)
  end
  if b.parent then
    number_end(row, b, state, by)
  else
    end_job(row, state, outcome)
  end
  if state == FAILED then
    -- The jobs in which a task has failed, by when one last did.
    zadd(K.failed, job_of(row.id), now)
  end
  if state ~= SUCCEEDED and (b.kind == 'homing.link' or string.sub(b.kind, 1, 14) == 'homing.celery.') then
    follow(row, outcome)
  end
  return true
end

-- `text`: who wants it and why; without one, who it is says all.
local function cancel_with(row, by, text)
  if not is_open(row) then
    return false
  end
  return finish(row, CANCELLED, failure_blob(CANCELLED_REASON, row, text or by), by)
end

-- Ends a task for a reason that is none of its body's.
local function fail(row, reason, more)
  local outcome = failure_blob(reason, row, more)
  local key = string.format('\2%08x.%.0f', row.attempt, now)
  write_line(row, key, now, ERROR, FAILED_LINE, outcome)
  local failed = finish(row, FAILED, outcome, false)
  if failed then
    told.swept[#told.swept + 1] = { 1, row.id, outcome }
  end
  return failed
end

local function end_if_overdue(row)
  if not is_open(row) then
    return false
  end
  local late = row.deadline and row.deadline <= now
  local expires = expiry(row)
  if late or (expires and expires <= now) then
    return fail(row, late and DEADLINE or EXPIRED, 0)
  end
  return false
end

-- A running task becomes pending.
local function release(row, due)
  touch(row)
  row.state, row.worker, row.holder, row.parked_worker = PENDING, false, false, false
  row.due = due
  told.ready = true
end

local function renew(row)
  touch(row)
  row.failures, row.crashes, row.stalls, row.at_once = 0, 0, 0, false
end

-- Submits a job, which stands in a list from a place on: id, birth, due, expires, deadline, what people read of it, its
-- key. Returns what became of it, and the job that it is.
local NEW, EXISTING, CONFLICT = 0, 1, 2

local function submit(list, at)
  local id, key = list[at], list[at + 6]
  local root = root_of(id)
  if root then
    local known, new = birth(root.id), birth_from(list[at + 1])
    local same = known.is_broken or (known.kind == new.kind and hash_of(known) == hash_of(new))
    return same and EXISTING or CONFLICT, id
  end
  if key then
    local holder = get(K.keys, key)
    if holder then
      return EXISTING, holder
    end
    put(K.keys, key, id)
  end
  insert(id .. ROOT, list[at + 1], 0, list[at + 2], list[at + 3], list[at + 4])
  if list[at + 5] then
    put(JOB_KEYS .. id, 'j', list[at + 5])
  end
  append(K.jobs, id, now)
  append(K.ids, id, 0)
  return NEW, id
end

-- The open job that holds a key. One that is past its expiry or its deadline is ended.
local function holder_of(key)
  local holder = key and get(K.keys, key)
  if not holder then
    return nil
  end
  local root = root_of(holder)
  if root and end_if_overdue(root) then
    return nil
  end
  return holder
end
