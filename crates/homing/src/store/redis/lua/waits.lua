-- Waits: what satisfies them, what answers them, and who is woken by an end.
--
-- A parked task's waits are its field `w`: a list of waits, and the same as JSON for people. A wait is place,
-- number, members and arms; an arm's first value says what it is.

local SET, CHILD, SIGNAL, JOB, AT, ALL = 1, 2, 3, 4, 5, 6
-- How an entry of a record is kept: as JSON, as the answer of a wait, as what a body has returned.
local JSON, ANSWER, RETURNED = 0, 1, 2

-- Nil, if they do not decode.
local function waits_of(row)
  if not row.has_waits then
    return {}
  end
  local blob = get(key_of(row.id), 'w' .. own_of(row.id))
  local kept = blob and decode(blob)
  return kept and kept[1]
end

local function clear_waits(row)
  if row.has_waits then
    row.has_waits, row.wake = false, false
    put(key_of(row.id), 'w' .. own_of(row.id), false)
  end
end

local function signal_field(id, number)
  return 'i' .. own_of(id) .. u64(number)
end

-- The value of the oldest signal of a name that a task was sent, and its number.
local function find_signal(row, name)
  for number = row.first_signal, row.last_signal do
    local blob = number > 0 and get(key_of(row.id), signal_field(row.id, number))
    local kept = blob and decode(blob)
    if kept then
      if kept[1] == name then
        return kept[2], number
      end
    end
  end
  return nil
end

local function take_signal(row, number)
  touch(row)
  put(key_of(row.id), signal_field(row.id, number), false)
  while row.first_signal <= row.last_signal
    and not get(key_of(row.id), signal_field(row.id, row.first_signal)) do
    row.first_signal = row.first_signal + 1
  end
end

local function keep_signal(row, name, value)
  touch(row)
  row.last_signal = row.last_signal + 1
  if row.first_signal == 0 then
    row.first_signal = 1
  end
  put(key_of(row.id), signal_field(row.id, row.last_signal), cmsgpack.pack({ name, value }))
end

local function forget_signals(row)
  for number = math.max(row.first_signal, 1), row.last_signal do
    put(key_of(row.id), signal_field(row.id, number), false)
  end
  row.first_signal, row.last_signal = 0, 0
end

-- The root of a job, where it stands.
local function root_of(job)
  return task(job .. ROOT)
end

local function holds(arm, row)
  local what = arm[1]
  if what == SET then
    local counts = counts_of(row.id, arm[2])
    local ended = ended_of(counts)
    return (arm[6] and counts.spawned > 0 and ended >= counts.spawned)
      or (arm[3] and ended >= arm[3])
      or (arm[4] and counts.failed + counts.cancelled >= arm[4])
      or (arm[5] and counts.succeeded >= arm[5])
      or false
  elseif what == CHILD then
    local child = task(job_of(row.id) .. arm[3])
    return child and child.state >= SUCCEEDED or false
  elseif what == SIGNAL then
    return find_signal(row, arm[2]) ~= nil
  elseif what == JOB then
    return not is_open(root_of(arm[2]))
  elseif what == AT then
    return now >= arm[2]
  end
  for _, each in ipairs(arm[2]) do
    if not holds(each, row) then
      return false
    end
  end
  return true
end

-- Whether something is so of an arm of a task's waits.
local function any_arm(row, is_so, about)
  for _, wait in ipairs(waits_of(row) or {}) do
    for _, arm in ipairs(wait[4]) do
      if is_so(arm, about) then
        return true
      end
    end
  end
  return false
end

local function names_set(arm, set)
  if arm[1] == SET or arm[1] == CHILD then
    return arm[2] == set
  elseif arm[1] == ALL then
    for _, each in ipairs(arm[2]) do
      if names_set(each, set) then
        return true
      end
    end
  end
  return false
end

-- Keeps that a task waits for the other jobs that its waits name and that are open.
local function watch(arm, row)
  if arm[1] == JOB and is_open(root_of(arm[2])) then
    watching[arm[2]] = watching[arm[2]] or {}
    watching[arm[2]][row.id] = true
  elseif arm[1] == ALL then
    for _, each in ipairs(arm[2]) do
      watch(each, row)
    end
  end
end

local function record_field(id, number)
  return 'r' .. own_of(id) .. u64(number)
end

-- Writes an entry over what is under its number, and behind it when that was, as a value of its own: who reads the entry
-- alone does not see it.
local function record(row, number, blob)
  touch(row)
  put(key_of(row.id), record_field(row.id, number), blob .. '\207' .. u64(now))
  row.records = math.max(row.records, number)
end

-- An answer as an entry of the record: place, what it is, arm, members, value, the signal's name. Where the value is
-- how a job stands, it is the job and its outcome, and the state of its root stands last.
local function answer_of(wait, at, row)
  local arm = wait[4][at]
  local value, signal, state = false, false, false
  if arm[1] == SIGNAL then
    local number
    value, number = find_signal(row, arm[2])
    take_signal(row, number)
    signal = arm[2]
  elseif arm[1] == JOB then
    local root = root_of(arm[2])
    state = root and root.state or -1
    value = root and arm[2] .. root.outcome or false
  elseif arm[1] == SET and arm[6] then
    value = string.format('%.0f', ended_of(counts_of(row.id, arm[2])))
  end
  return cmsgpack.pack({ wait[1], ANSWER, at - 1, wait[3], value, signal, state })
end

-- Answers what is satisfied and records the answers. A wait may have been answered already, in a reply that never
-- arrived: then that answer stands, and no second signal is taken for it. Returns numbers and entries in turn; nil and
-- a number, if what is recorded under it does not decode.
local function answer(row, waits)
  local answers = {}
  for _, wait in ipairs(waits) do
    local known = get(key_of(row.id), record_field(row.id, wait[2]))
    local entry = known and decode(known)
    if known and not entry then
      return nil, wait[2]
    end
    if entry and entry[2] == ANSWER and entry[1] == wait[1] then
      answers[#answers + 1] = wait[2]
      answers[#answers + 1] = known
    else
      for at, arm in ipairs(wait[4]) do
        if holds(arm, row) then
          local blob = answer_of(wait, at, row)
          record(row, wait[2], blob)
          answers[#answers + 1] = wait[2]
          answers[#answers + 1] = blob
          break
        end
      end
    end
  end
  return answers
end

-- A task of which something does not decode stands still; `what` says what it is. The pause before each try doubles.
-- The reason is made a text by the process that shows it.
local function stand_still(row, what)
  touch(row)
  row.state, row.worker, row.holder, row.parked_worker = PENDING, false, false, false
  row.due = now + math.min(STALL_MAX, 1000000 * 2 ^ math.min(row.stalls, 40))
  row.stalls, row.reason = row.stalls + 1, '\0' .. what
  told.ready = true
  told.swept[#told.swept + 1] = { 2, row.id, what, row.due - now }
end

local function wake_if_satisfied(row)
  if not waits_of(row) then
    stand_still(row, 'its waits')
  elseif any_arm(row, holds, row) then
    touch(row)
    row.state, row.due, row.held_until = PENDING, now - RESUMED_AGE, now + HOLD
    told.ready = true
  end
end

-- Parents and sets whose children have ended, and jobs that have; all that were not looked at since.
local parents_to_check, over = {}, {}

-- Looks at tasks that wait for a job that has ended: at so many that one script can bear them, the others follow.
local function wake_watchers(job)
  local waiters, all_there = watchers(job)
  for id in pairs(waiters) do
    local row = task(id)
    if row and row.state == WAITING then
      wake_if_satisfied(row)
    end
  end
  if next(waiters) then
    forget_watchers(job, waiters, all_there)
  end
  if not all_there or get(K.over, job) then
    put(K.over, job, not all_there and '1')
  end
end

-- Looks once at each parent whose children ended, and at whoever waits for a job that did.
local function wake_parents()
  local parents, ended_jobs = parents_to_check, over
  parents_to_check, over = {}, {}
  for _, counts in ipairs(parents) do
    counts.to_check = false
    local row = task(counts.id)
    if row and row.state == WAITING and (not waits_of(row) or any_arm(row, names_set, counts.set)) then
      wake_if_satisfied(row)
    end
  end
  for job in pairs(ended_jobs) do
    wake_watchers(job)
  end
end
