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
-- Births as they were read, of tasks of which nobody has asked for them yet.
local blobs = {}
local touched = {}

local function job_of(id)
  return string.sub(id, 1, 16)
end

local function own_of(id)
  return string.sub(id, 17)
end

local JOB_KEYS = LANE .. 'j:'

local function key_of(id)
  return JOB_KEYS .. string.sub(id, 1, 16)
end

-- What a root has instead of a key of its own.
local ROOT = string.rep('\0', 16)

local function u32(number)
  return struct.pack('>I4', number)
end

local function u64(number)
  return struct.pack('>L', number)
end

-- Births -------------------------------------------------------------------------------------------------

-- A list of ten: parent, set, number, kind, queue, priority, hash, policy, tags, arguments. Its values are read without a
-- table for the list, which would cost more than all that is done with them.
local birth_from, hash_of, arguments_of, birth_with, birth, whole_birth = (function()
  local BIRTH = string.char(144 + 10)

  local function birth_from(blob)
    if blob and string.sub(blob, 1, 1) == BIRTH then
      local fits, _, parent, set, number, kind, queue, priority, _, _, _, arguments =
        pcall(cmsgpack.unpack_limit, blob, 10, 1)
      if fits and arguments then
        return {
          parent = parent, set = set, number = number, kind = kind, queue = queue,
          priority = priority, blob = blob,
        }
      end
    end
    return { kind = '?', queue = '?', priority = 0, blob = '', is_broken = true }
  end

  local function hash_of(b)
    return b.is_broken and '' or cmsgpack.unpack(b.blob)[7]
  end

  local function arguments_of(b)
    return b.is_broken and '' or cmsgpack.unpack(b.blob)[10]
  end

  -- A birth with another value at one place.
  local function birth_with(blob, place, value)
    local list = cmsgpack.unpack(blob)
    list[place] = value
    return cmsgpack.pack(list)
  end

  local function birth(id)
    local own = births[id]
    if not own then
      own = birth_from(blobs[id] or get(key_of(id), 'b' .. own_of(id)))
      births[id] = own
    end
    return own
  end

  -- What is handed out of a birth that is whole; else nil.
  local function whole_birth(id)
    local own, blob = births[id], blobs[id]
    if own or not blob then
      own = birth(id)
      return not own.is_broken and own.blob or nil
    end
    local fits, _, _, _, _, _, _, _, _, _, _, arguments = pcall(cmsgpack.unpack_limit, blob, 10, 1)
    return fits and arguments and string.sub(blob, 1, 1) == BIRTH and blob or nil
  end

  return birth_from, hash_of, arguments_of, birth_with, birth, whole_birth
end)()

-- Tasks --------------------------------------------------------------------------------------------------

-- A row is kept as what every task has, one value behind the other, and last, if it has any, the list of what few have, as
-- places and values in turn; what it lacks is as in `USUAL`. So the rows of most tasks are short, here and on the
-- server: wide ones took half of the time of all scripts.
local row_from, new_row, row_blob = (function()
  local RARE = {
    'attempt', 'failures', 'crashes', 'stalls', 'at_once', 'parked_worker', 'parked_claim', 'holder',
    'held_until', 'reason', 'progress', 'share', 'lines', 'dropped', 'drop_line', 'children',
    'own_children', 'sets', 'first_signal', 'last_signal', 'by', 'expires', 'deadline', 'wake',
    'has_waits', 'held', 'counted',
  }

  local USUAL = {
    attempt = 1, failures = 0, crashes = 0, stalls = 0, at_once = false, parked_worker = false,
    parked_claim = 0, holder = false, held_until = 0, reason = false, progress = false, share = 0,
    lines = 0, dropped = 0, drop_line = false, children = 0, own_children = 0, sets = 0,
    first_signal = 0, last_signal = 0, by = false, expires = false, deadline = false, wake = false,
    has_waits = false, held = false, counted = false,
  }

  local PLACES = {}
  for place, name in ipairs(RARE) do
    PLACES[name] = place
  end

  -- The first time that a row's rare value becomes another than the usual one. `rare`: the names of those.
  local ROW = {
    __index = USUAL,
    __newindex = function(row, name, value)
      if value ~= USUAL[name] then
        rawset(row, name, value)
        row.rare = row.rare or {}
        row.rare[#row.rare + 1] = name
      end
    end,
  }

  -- Nil, if it does not decode. All that the list has is there from the beginning, so that only what is rare goes through
  -- `ROW`. `blob` is the row as it is packed, as long as it is as it was.
  local function row_from(id, blob)
    local fits, _, state, due, created, depth, claim, worker, started, records, end_number, ended,
      outcome, rare = pcall(cmsgpack.unpack_limit, blob, 12)
    if not fits or outcome == nil then
      return nil
    end
    local row = setmetatable({
      id = id, state = state, due = due, created = created, depth = depth, claim = claim,
      worker = worker, started = started, records = records, end_number = end_number,
      ended = ended, outcome = outcome, rare = false, filed = false, blob = false,
    }, ROW)
    if rare then
      for at = 1, #rare, 2 do
        row[RARE[rare[at]]] = rare[at + 1]
      end
    end
    return row
  end

  local function new_row(id, due, depth)
    return setmetatable({
      id = id, state = PENDING, due = due, created = now, depth = depth, claim = 0, worker = false,
      started = false, records = 0, end_number = false, ended = false, outcome = false,
      rare = false, filed = false, blob = false,
    }, ROW)
  end

  local function rare_of(row)
    local list, at = {}, 0
    for _, name in ipairs(row.rare) do
      local value = row[name]
      if value ~= USUAL[name] then
        list[at + 1], list[at + 2], at = PLACES[name], value, at + 2
      end
    end
    return list
  end

  local function row_blob(o)
    if not o.blob then
      local blob = cmsgpack.pack(
        o.state, o.due, o.created, o.depth, o.claim, o.worker, o.started, o.records, o.end_number,
        o.ended, o.outcome
      )
      local rare = o.rare and rare_of(o)
      o.blob = rare and #rare > 0 and blob .. cmsgpack.pack(rare) or blob
    end
    return o.blob
  end

  return row_from, new_row, row_blob
end)()

-- The row of a task, or nil.
local function task(id)
  local row = tasks[id]
  if row == nil then
    local blob = get(key_of(id), 'o' .. own_of(id))
    row = blob and row_from(id, blob) or false
    tasks[id] = row
  end
  return row or nil
end

-- Reads by few commands rows and births. Of a root also what people read of its job, if asked for.
local function load_rows(ids, with_about)
  local groups = {}
  local function keep(id, row, blob)
    tasks[id] = row and row_from(id, row) or false
    blobs[id] = blob or nil
  end
  for _, id in ipairs(ids) do
    if tasks[id] == nil then
      local key, own = key_of(id), own_of(id)
      local group = groups[key]
      if own == ROOT then
        -- No other is of its job, as a rule.
        local found
        if with_about then
          found = redis.call('HMGET', key, 'o' .. own, 'b' .. own, 'j')
          fields_of(key)['j'] = found[3]
        else
          found = redis.call('HMGET', key, 'o' .. own, 'b' .. own)
        end
        keep(id, found[1], found[2])
      elseif group then
        group[#group + 1] = id
      else
        groups[key] = { id }
      end
    end
  end
  for key, group in pairs(groups) do
    for from = 1, #group, SLICE / 2 do
      local names, at = {}, 0
      for place = from, math.min(from + SLICE / 2 - 1, #group) do
        local own = own_of(group[place])
        names[at + 1], names[at + 2], at = 'o' .. own, 'b' .. own, at + 2
      end
      local found = redis.call('HMGET', key, unpack(names))
      for place = 1, at / 2 do
        keep(group[from + place - 1], found[2 * place - 1], found[2 * place])
      end
    end
  end
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
  if not row.rare or row.state >= SUCCEEDED then
    return false
  end
  local first, other = row.deadline, expiry(row) or (row.state == WAITING and row.wake)
  if other and (not first or other < first) then
    return other
  end
  return first
end

-- A class is a group of pending tasks that a claim takes or leaves alike, as a text: whether they are ready for any
-- claim (`r`), must begin at once (`d`), are suspects (`s`) or are held until their job's retry is through (`x`);
-- whether they stand still (`l`); for whom they are kept (`h` and the worker, or the job that is retried); queue and
-- kind. Members of the index begin with 8 bytes of its hash.
local class_hash, class_of = (function()
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

  -- Texts of the usual class, by queue and kind.
  local usual_classes = {}

  local function usual_class(queue, kind)
    local of_queue = usual_classes[queue]
    if not of_queue then
      of_queue = {}
      usual_classes[queue] = of_queue
    end
    local text = of_queue[kind]
    if not text then
      text = 'r--' .. queue .. '\0' .. kind
      of_queue[kind] = text
    end
    return text
  end

  local function class_of(row, b)
    if not row.rare then
      return usual_class(b.queue, b.kind)
    end
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

  return class_hash, class_of
end)()

-- An instant as bytes that sort alike: shifted, so that instants before 1970 do, and kept within what a double
-- counts exactly. Many tasks are due at one instant.
local due_bytes, due_from, rank = (function()
  local SHIFT = 4503599627370496
  local due_last, due_last_bytes

  local function due_bytes(due)
    if due ~= due_last then
      due_last, due_last_bytes = due, u64(math.max(0, math.min(due + SHIFT, 2 * SHIFT - 1)))
    end
    return due_last_bytes
  end

  local function due_from(bytes)
    return struct.unpack('>L', bytes) - SHIFT
  end

  local ranks = {}

  local function rank(priority)
    local bytes = ranks[priority]
    if not bytes then
      bytes = struct.pack('>I2', 32767 - priority)
      ranks[priority] = bytes
    end
    return bytes
  end

  return due_bytes, due_from, rank
end)()

-- Rows of which something is to be written.
local packed = {}
-- How a row's filing says that it was touched since, and that it is among `packed`.
local TOUCHED, PACKED = 8, 9
local NOWHERE = { false, false, false, false, false, false, 0, false, false }

local filing, filing_of_ready, job_row, count_classes, refile = (function()
  -- Under what a row is filed, by place: state, member of the index of pending tasks, class, timer, member of the index of
  -- running ones, whether it stands still, its share of the job's progress; and then `TOUCHED` and `PACKED`.
  local STATE, READY, CLASS, TIMER, HELD_AS, STALLED, SHARE = 1, 2, 3, 4, 5, 6, 7

  -- Of a pending one that a look at the index has found.
  local function filing_of_ready(row, ready, class)
    return { PENDING, ready, class, timer(row), false, row.rare and row.stalls > 0, 0, false, false }
  end

  -- One claim hands out many tasks.
  local holder, holder_claim, holder_prefix

  local function running_member(row)
    if row.worker ~= holder or row.claim ~= holder_claim then
      holder, holder_claim = row.worker, row.claim
      holder_prefix = holder .. u64(holder_claim)
    end
    return holder_prefix .. row.id
  end

  -- Only a pending one's place depends on what it was born with.
  local function filing(row, is_packed)
    local state, running = row.state, row.worker and running_member(row)
    if state == PENDING then
      local b = birth(row.id)
      local class = class_of(row, b)
      local ready = class_hash(class) .. rank(b.priority) .. due_bytes(row.due) .. row.id
      local stalled = row.rare and row.stalls > 0
      return { state, ready, class, timer(row), running, stalled, 0, false, is_packed }
    end
    local share = row.rare and state < SUCCEEDED and row.share or 0
    return { state, false, false, timer(row), running, false, share, false, is_packed }
  end

  -- How many of a job's tasks are in which state, how many stand still, how far those at work are, and how many
  -- cascades are on their way. A job that has never had more than its root has no such field: its root says it all.
  local function job_row(job)
    local row = jobs[job]
    if row then
      return row
    end
    local blob = get(JOB_KEYS .. job, 'n')
    local n = blob and cmsgpack.unpack(blob) or { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    row = {
      [PENDING] = n[1], [RUNNING] = n[2], [WAITING] = n[3], [SUCCEEDED] = n[4], [FAILED] = n[5],
      [CANCELLED] = n[6], stalled = n[7], share = n[8], cascades = n[9],
    }
    jobs[job] = row
    local root = task(job .. ROOT)
    if root and not root.counted then
      local filed = root.filed or filing(root, false)
      root.filed, root.counted, root.blob, row.dirty = filed, true, false, true
      if not filed[PACKED] then
        filed[PACKED] = true
        packed[#packed + 1] = root
      end
      if filed[STATE] then
        row[filed[STATE]] = row[filed[STATE]] + 1
      end
      row.stalled = row.stalled + (filed[STALLED] and 1 or 0)
      row.share = row.share + filed[SHARE]
    end
    return row
  end

  local classes_changed = {}

  local function count_class(text, by)
    classes_changed[text] = (classes_changed[text] or 0) + by
  end

  local function count_classes()
    for text, by in pairs(classes_changed) do
      if by ~= 0 then
        local count = tonumber(get(K.classes, text) or '0') + by
        put(K.classes, text, count > 0 and string.format('%d', count))
      end
    end
    classes_changed = {}
  end

  -- Counts a row among its job's.
  local function count_row(row, old, new)
    if string.sub(row.id, 17) == ROOT and not (row.rare and row.counted) then
      return
    end
    local job = job_row(job_of(row.id))
    job.dirty = true
    if old[STATE] then
      job[old[STATE]] = job[old[STATE]] - 1
    end
    if new[STATE] then
      job[new[STATE]] = job[new[STATE]] + 1
    end
    job.stalled = job.stalled + (new[STALLED] and 1 or 0) - (old[STALLED] and 1 or 0)
    job.share = job.share + new[SHARE] - old[SHARE]
  end

  -- Takes a row from where it is filed to where it belongs. What is the same in both is left alone.
  local function refile(row, old, new)
    if old[READY] ~= new[READY] then
      if old[READY] then
        zrem(K.ready, old[READY])
      end
      if new[READY] then
        zadd(K.ready, new[READY], 0)
      end
    end
    if old[CLASS] ~= new[CLASS] then
      if old[CLASS] then
        count_class(old[CLASS], -1)
      end
      if new[CLASS] then
        count_class(new[CLASS], 1)
      end
    end
    if old[TIMER] ~= new[TIMER] then
      if new[TIMER] then
        zadd(K.timers, row.id, new[TIMER])
      elseif old[TIMER] then
        zrem(K.timers, row.id)
      end
    end
    if old[HELD_AS] ~= new[HELD_AS] then
      if old[HELD_AS] then
        zrem(K.running, old[HELD_AS])
      end
      if new[HELD_AS] then
        zadd(K.running, new[HELD_AS], 0)
      end
    end
    if old[STATE] ~= new[STATE] or old[STALLED] ~= new[STALLED] or old[SHARE] ~= new[SHARE] then
      count_row(row, old, new)
    end
  end

  return filing, filing_of_ready, job_row, count_classes, refile
end)()

-- To be called before a row changes.
local function touch(row)
  row.blob = false
  local filed = row.filed
  if not filed then
    filed = filing(row, false)
    row.filed = filed
  end
  if not filed[TOUCHED] then
    filed[TOUCHED] = true
    touched[#touched + 1] = row
  end
  return row
end

-- Files each touched row under what it is now.
local function settle()
  local rows = touched
  touched = {}
  for _, row in ipairs(rows) do
    local id, old = row.id, row.filed
    if row.gone then
      refile(row, old, NOWHERE)
      put(key_of(id), 'o' .. own_of(id), false)
      put(key_of(id), 'b' .. own_of(id), false)
      tasks[id] = false
    else
      local new = filing(row, true)
      row.filed = new
      refile(row, old, new)
      if not old[PACKED] then
        packed[#packed + 1] = row
      end
    end
  end
end

local function insert(id, blob, depth, due, expires, deadline)
  births[id] = birth_from(blob)
  write(key_of(id), 'b' .. own_of(id), blob)
  local row = new_row(id, due or now, depth)
  tasks[id] = row
  if expires or deadline then
    row.expires, row.deadline = expires, deadline
  end
  row.filed = { false, false, false, false, false, false, 0, true, false }
  touched[#touched + 1] = row
  told.ready = true
end

-- Sets ---------------------------------------------------------------------------------------------------

-- The counts of a set; zero if it has never had a child.
local function counts_of(id, set)
  local of_task = sets[id]
  if not of_task then
    of_task = {}
    sets[id] = of_task
  end
  local row = of_task[set]
  if not row then
    local blob = get(key_of(id), 's' .. own_of(id) .. set)
    local s = blob and cmsgpack.unpack(blob) or { 0, 0, 0, 0, 0, 0, 0, 0, 0 }
    row = {
      spawned = s[1], succeeded = s[2], failed = s[3], cancelled = s[4], aborted = s[5],
      last_end = s[6], added = s[7], last_added = s[8], numbers = s[9], id = id, set = set,
      is_known = blob and true,
    }
    of_task[set] = row
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
  sort(found)
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
  local follows = string.sub(own, 1, 12) == string.sub(set, 1, 12) and string.sub(own, 13) == u32(number)
  if not follows then
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
  count_classes()
  for _, row in ipairs(packed) do
    local id = row.id
    if tasks[id] == row then
      write(key_of(id), 'o' .. own_of(id), row_blob(row))
    end
  end
  for _, of_task in pairs(sets) do
    for _, counts in pairs(of_task) do
      if counts.dirty then
        put(key_of(counts.id), 's' .. own_of(counts.id) .. counts.set, cmsgpack.pack({
          counts.spawned, counts.succeeded, counts.failed, counts.cancelled, counts.aborted,
          counts.last_end, counts.added, counts.last_added, counts.numbers,
        }))
      end
    end
  end
  for job, n in pairs(jobs) do
    if n.dirty then
      put(JOB_KEYS .. job, 'n', cmsgpack.pack({
        n[PENDING], n[RUNNING], n[WAITING], n[SUCCEEDED], n[FAILED], n[CANCELLED], n.stalled,
        n.share, n.cascades,
      }))
    end
  end
end
