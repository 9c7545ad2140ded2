-- Rows: tasks, their births, their sets and their jobs, and the indexes under which tasks are filed.
--
-- A task's id is 32 bytes: 16 of its job, 16 of its own. A task has two fields in the hash of its job: `b`, what it
-- has from its birth on, and `o`, what moves. A row that may change is touched first; `settle` files each touched
-- row under what it is by then, so that the claim finds what the units have made ready.

local PENDING, RUNNING, WAITING, SUCCEEDED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
local BY_USER, BY_ABORT, BY_POLICY, BY_PARENT = 1, 2, 3, 4
-- Limits and spans that the library keeps in `limits.rs`, handed over by the process.
local limits = asked[2]
local RESUMED_AGE, HOLD, SUSPECT = limits[1], limits[2], limits[3]
local LOG_LINES, CASCADE, CHILDREN, STALL_MAX = limits[4], limits[5], limits[6], limits[7]

local tasks, births, sets, jobs = {}, {}, {}, {}
local touched = {}

local function job_of(id)
  return string.sub(id, 1, 16)
end

local function own_of(id)
  return string.sub(id, 17)
end

local function key_of(id)
  return LANE .. 'j:' .. string.sub(id, 1, 16)
end

local function u32(number)
  return struct.pack('>I4', number)
end

local function u64(number)
  return struct.pack('>L', number)
end

-- Births -------------------------------------------------------------------------------------------------

local function birth_from(blob)
  local b = blob and decode(blob)
  if not b then
    return { kind = '?', queue = '?', priority = 0, hash = '', arguments = '', is_broken = true, blob = '' }
  end
  return {
    parent = b[1], set = b[2], number = b[3], kind = b[4], queue = b[5], priority = b[6],
    hash = b[7], policy = b[8], tags = b[9], arguments = b[10], blob = blob,
  }
end

local function birth_blob(b)
  return cmsgpack.pack({
    b.parent, b.set, b.number, b.kind, b.queue, b.priority, b.hash, b.policy, b.tags, b.arguments,
  })
end

local function birth(id)
  local own = births[id]
  if not own then
    own = birth_from(get(key_of(id), 'b' .. own_of(id)))
    births[id] = own
  end
  return own
end

-- Tasks --------------------------------------------------------------------------------------------------

-- Nil, if it does not decode.
local function row_from(blob)
  local o = decode(blob)
  return o and {
    state = o[1], due = o[2], attempt = o[3], failures = o[4], crashes = o[5], stalls = o[6],
    at_once = o[7], worker = o[8], claim = o[9], parked_worker = o[10], parked_claim = o[11],
    holder = o[12], held_until = o[13], reason = o[14], progress = o[15], share = o[16],
    lines = o[17], dropped = o[18], drop_line = o[19], started = o[20], records = o[21],
    children = o[22], own_children = o[23], sets = o[24], first_signal = o[25],
    last_signal = o[26], end_number = o[27], by = o[28], ended = o[29], outcome = o[30],
    expires = o[31], deadline = o[32], wake = o[33], created = o[34], depth = o[35],
    has_waits = o[36], held = o[37],
  }
end

local function row_blob(o)
  return cmsgpack.pack({
    o.state, o.due, o.attempt, o.failures, o.crashes, o.stalls, o.at_once, o.worker, o.claim,
    o.parked_worker, o.parked_claim, o.holder, o.held_until, o.reason, o.progress, o.share,
    o.lines, o.dropped, o.drop_line, o.started, o.records, o.children, o.own_children, o.sets,
    o.first_signal, o.last_signal, o.end_number, o.by, o.ended, o.outcome, o.expires, o.deadline,
    o.wake, o.created, o.depth, o.has_waits, o.held,
  })
end

-- The row of a task, or nil.
local function task(id)
  local row = tasks[id]
  if row == nil then
    local blob = get(key_of(id), 'o' .. own_of(id))
    row = blob and row_from(blob) or false
    if row then
      row.id = id
    end
    tasks[id] = row
  end
  return row or nil
end

local function is_open(row)
  return row and row.state < SUCCEEDED
end

-- Until when it must have begun. One that was fetched ahead may have.
local function expiry(row)
  return not row.started and row.state == PENDING and row.expires
end

-- The instant at which the task must be looked at without a claim.
local function timer(row)
  if row.state >= SUCCEEDED then
    return false
  end
  local first = expiry(row)
  local wake = row.state == WAITING and row.wake
  for _, time in ipairs({ row.deadline or false, wake or false }) do
    if time and (not first or time < first) then
      first = time
    end
  end
  return first
end

-- A class is a group of pending tasks that a claim takes or leaves alike, as a text: whether they are ready for any
-- claim (`r`), must begin at once (`d`), are suspects (`s`) or are held until their job's retry is through (`x`);
-- whether they stand still (`l`); for whom they are kept (`h` and the worker, or the job that is retried); queue and
-- kind. Members of the index begin with 8 bytes of its hash.
local class_hashes = {}

local function class_hash(text)
  local hash = class_hashes[text]
  if not hash then
    local hex = redis.sha1hex(text)
    hash = string.gsub(string.sub(hex, 1, 16), '%x%x', function(two)
      return string.char(tonumber(two, 16))
    end)
    class_hashes[text] = hash
  end
  return hash
end

local function class_of(row, b)
  local sort = 'r'
  if row.crashes >= SUSPECT then
    sort = 's'
  elseif row.at_once or row.crashes > 0 then
    sort = 'd'
  end
  local stalled = row.stalls > 0 and 'l' or '-'
  if row.held then
    return 'x' .. stalled .. 'h' .. job_of(row.id) .. b.queue .. '\0' .. b.kind
  end
  local hold = row.holder and 'h' .. row.holder or '-'
  return sort .. stalled .. hold .. b.queue .. '\0' .. b.kind
end

-- An instant as bytes that sort alike: shifted, so that instants before 1970 do, and kept within what a double
-- counts exactly.
local SHIFT = 4503599627370496

local function due_bytes(due)
  return u64(math.max(0, math.min(due + SHIFT, 2 * SHIFT - 1)))
end

local function due_from(bytes)
  return struct.unpack('>L', bytes) - SHIFT
end

local function rank(priority)
  return struct.pack('>I2', 32767 - priority)
end

-- Under what a row is filed. Only a pending one's place depends on what it was born with.
local function filing(row)
  local filed = { state = row.state, timer = timer(row), share = 0 }
  if row.state == PENDING then
    local b = birth(row.id)
    filed.class = class_of(row, b)
    filed.ready = class_hash(filed.class) .. rank(b.priority) .. due_bytes(row.due) .. row.id
    filed.stalled = row.stalls > 0
  elseif row.state == RUNNING or row.state == WAITING then
    filed.share = row.share
  end
  if row.worker then
    filed.running = row.worker .. u64(row.claim) .. row.id
  end
  return filed
end

-- To be called before a row changes.
local function touch(row)
  if not touched[row.id] then
    touched[row.id] = true
    if not row.filed then
      row.filed = filing(row)
    end
  end
  return row
end

-- Jobs ---------------------------------------------------------------------------------------------------

-- How many of a job's tasks are in which state, how many stand still, how far those at work are, and how many
-- cascades are on their way.
local function job_row(job)
  local row = jobs[job]
  if not row then
    local blob = get(LANE .. 'j:' .. job, 'n')
    local n = blob and cmsgpack.unpack(blob) or { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    row = {
      [PENDING] = n[1], [RUNNING] = n[2], [WAITING] = n[3], [SUCCEEDED] = n[4], [FAILED] = n[5],
      [CANCELLED] = n[6], stalled = n[7], share = n[8], cascades = n[9],
    }
    jobs[job] = row
  end
  return row
end

local function count_class(text, by)
  local count = tonumber(get(K.classes, text) or '0') + by
  put(K.classes, text, count > 0 and string.format('%d', count))
end

local NOWHERE = { share = 0 }

-- Takes a row from where it is filed to where it belongs. What is the same in both is left alone.
local function refile(id, old, new)
  if old.ready ~= new.ready then
    if old.ready then
      zrem(K.ready, old.ready)
    end
    if new.ready then
      zadd(K.ready, new.ready, 0)
    end
  end
  if old.class ~= new.class then
    if old.class then
      count_class(old.class, -1)
    end
    if new.class then
      count_class(new.class, 1)
    end
  end
  if old.timer ~= new.timer then
    if new.timer then
      zadd(K.timers, id, new.timer)
    elseif old.timer then
      zrem(K.timers, id)
    end
  end
  if old.running ~= new.running then
    if old.running then
      zrem(K.running, old.running)
    end
    if new.running then
      zadd(K.running, new.running, 0)
    end
  end
  if old.state ~= new.state or old.stalled ~= new.stalled or old.share ~= new.share then
    local job = job_row(job_of(id))
    job.dirty = true
    if old.state then
      job[old.state] = job[old.state] - 1
    end
    if new.state then
      job[new.state] = job[new.state] + 1
    end
    job.stalled = job.stalled + (new.stalled and 1 or 0) - (old.stalled and 1 or 0)
    job.share = job.share + new.share - old.share
  end
end

local packed = {}

-- Files each touched row under what it is now.
local function settle()
  for id in pairs(touched) do
    local row = tasks[id]
    local old = row.filed or NOWHERE
    if row.gone then
      refile(id, old, NOWHERE)
      put(key_of(id), 'o' .. own_of(id), false)
      put(key_of(id), 'b' .. own_of(id), false)
      tasks[id], packed[id] = false, nil
    else
      row.filed = filing(row)
      refile(id, old, row.filed)
      packed[id] = true
    end
  end
  touched = {}
end

-- A new row. `options`: due, expires, deadline.
local function insert(id, blob, options, depth)
  births[id] = birth_from(blob)
  put(key_of(id), 'b' .. own_of(id), blob)
  tasks[id] = {
    id = id, state = PENDING, due = options[1] or now, attempt = 1, failures = 0, crashes = 0,
    stalls = 0, at_once = false, worker = false, claim = 0, parked_worker = false,
    parked_claim = 0, holder = false, held_until = 0, reason = false, progress = false, share = 0,
    lines = 0, dropped = 0, drop_line = false, started = false, records = 0, children = 0,
    own_children = 0, sets = 0, first_signal = 0, last_signal = 0, end_number = false, by = false,
    ended = false, outcome = false, expires = options[2], deadline = options[3], wake = false,
    created = now, depth = depth, has_waits = false, held = false,
  }
  touched[id] = true
  told.ready = true
end

-- Sets ---------------------------------------------------------------------------------------------------

-- The counts of a set; zero if it has never had a child.
local function counts_of(id, set)
  local row = sets[id .. set]
  if not row then
    local blob = get(key_of(id), 's' .. own_of(id) .. set)
    local s = blob and cmsgpack.unpack(blob) or { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    row = {
      spawned = s[1], succeeded = s[2], failed = s[3], cancelled = s[4], aborted = s[5],
      last_end = s[6], added = s[7], last_added = s[8], numbers = s[9], id = id, set = set,
      is_known = blob and true,
    }
    sets[id .. set] = row
  end
  return row
end

-- The same counts, which are to be written.
local function change_counts(id, set)
  local counts = counts_of(id, set)
  counts.dirty = true
  if not counts.is_known then
    counts.is_known = true
    local row = touch(task(id))
    row.sets = row.sets + 1
    put(key_of(id), 't' .. own_of(id) .. u32(row.sets), set)
  end
  return counts
end

local function ended_of(counts)
  return counts.succeeded + counts.failed + counts.cancelled + counts.aborted
end

-- The sets of a task in the order of their keys.
local function sets_of(id)
  local row, found, names = task(id), {}, {}
  for at = 1, row.sets do
    names[at] = 't' .. own_of(id) .. u32(at)
  end
  load(key_of(id), names)
  for at = 1, row.sets do
    local set = get(key_of(id), names[at])
    if set then
      found[#found + 1] = set
    end
  end
  table.sort(found, less)
  return found
end

-- The children of a set with a number. The key of one follows from the number; those of others, of which there may be
-- several after a change of the body, are kept, one behind the other.
local function child_field(id, set, number)
  return 'c' .. own_of(id) .. set .. u32(number)
end

local function numbered_key(set, number)
  return string.sub(set, 1, 12) .. u32(number)
end

local function child_keys(id, set, number)
  local keys = { numbered_key(set, number) }
  local kept = get(key_of(id), child_field(id, set, number)) or ''
  for at = 1, #kept, 16 do
    keys[#keys + 1] = string.sub(kept, at, at + 15)
  end
  return keys
end

-- Keeps the key of a child that does not follow from its number.
local function keep_child(id, set, number, own)
  if own ~= numbered_key(set, number) then
    local field = child_field(id, set, number)
    put(key_of(id), field, (get(key_of(id), field) or '') .. own)
  end
end

local function forget_child(id, set, number, own)
  local left, keys = '', child_keys(id, set, number)
  for at = 2, #keys do
    left = left .. (keys[at] ~= own and keys[at] or '')
  end
  put(key_of(id), child_field(id, set, number), #left > 0 and left)
end

-- Children of a set by their numbers, from one on, among so many numbers: rows and numbers. First come those that the
-- body has spawned, then those that members have added. And where to go on, or nil.
local function children_from(id, set, from, limit)
  local counts = counts_of(id, set)
  local last = from < CHILDREN and counts.numbers or CHILDREN + counts.last_added
  if from < CHILDREN and from >= last then
    from, last = CHILDREN, CHILDREN + counts.last_added
  end
  local after = math.min(from + limit, last)
  local job, key, found, names = job_of(id), key_of(id), {}, {}
  for number = from, after - 1 do
    names[#names + 1] = child_field(id, set, number)
  end
  load(key, names)
  names = {}
  local keys = {}
  for number = from, after - 1 do
    for _, own in ipairs(child_keys(id, set, number)) do
      keys[#keys + 1] = { own, number }
      names[#names + 1] = 'o' .. own
      names[#names + 1] = 'b' .. own
    end
  end
  load(key, names)
  for _, each in ipairs(keys) do
    local row, number = task(job .. each[1]), each[2]
    if row and not row.gone then
      local b = birth(row.id)
      -- Another child may have the key that follows from the number.
      if b.parent == own_of(id) and b.set == set and b.number == number then
        found[#found + 1] = { row, number }
      end
    end
  end
  if after < last then
    return found, after
  elseif after <= CHILDREN and counts.last_added > 0 then
    return found, CHILDREN
  end
  return found, nil
end

-- The number of the child of the parent's body that a child goes back to.
local function origin_of(own, number)
  if number < CHILDREN then
    return number
  end
  return (struct.unpack('>I4', string.sub(own, 13, 16)))
end

-- Commit ---------------------------------------------------------------------------------------------------

local function write_rows()
  for id in pairs(packed) do
    if tasks[id] then
      put(key_of(id), 'o' .. own_of(id), row_blob(tasks[id]))
    end
  end
  for _, counts in pairs(sets) do
    if counts.dirty then
      put(key_of(counts.id), 's' .. own_of(counts.id) .. counts.set, cmsgpack.pack({
        counts.spawned, counts.succeeded, counts.failed, counts.cancelled, counts.aborted,
        counts.last_end, counts.added, counts.last_added, counts.numbers,
      }))
    end
  end
  for job, n in pairs(jobs) do
    if n.dirty then
      put(LANE .. 'j:' .. job, 'n', cmsgpack.pack({
        n[PENDING], n[RUNNING], n[WAITING], n[SUCCEEDED], n[FAILED], n[CANCELLED], n.stalled,
        n.share, n.cascades,
      }))
    end
  end
end
