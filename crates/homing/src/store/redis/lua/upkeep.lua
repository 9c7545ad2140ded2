-- Upkeep: dead workers, due instants, cancellations on their way down. A bounded part of each exchange.

-- Workers given up, tasks taken back and instants acted on by one script.
local WORKERS, HELD, FIRED = 100, 1000, 1000

local function name_of(worker)
  local blob = get(K.workers, worker)
  return blob and cmsgpack.unpack(blob)[4] or ''
end

local function forget_worker(worker)
  put(K.workers, worker, false)
  put(K.fence, worker, false)
  put(K.notices, worker, false)
  zrem(K.leases, worker)
end

-- What a worker holds, by id.
local function held_by(worker, limit)
  settle()
  local found = {}
  for _, member in ipairs(by_prefix(K.running, worker, limit)) do
    found[#found + 1] = string.sub(member, 25)
  end
  table.sort(found, less)
  return found
end

local function uuid(bytes)
  local hex = string.gsub(bytes, '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end)
  return string.sub(hex, 1, 8) .. '-' .. string.sub(hex, 9, 12) .. '-' .. string.sub(hex, 13, 16)
    .. '-' .. string.sub(hex, 17, 20) .. '-' .. string.sub(hex, 21)
end

local function crash(row, name, max_crashes)
  local worker, claim = row.worker, row.claim
  if not worker then
    return
  end
  touch(row)
  row.worker = false
  if claim % 2 == 1 then
    -- It was fetched ahead: nobody knows whether it had begun. The next worker that takes it begins it at once.
    row.at_once = true
    release(row, now - RESUMED_AGE)
    return
  end
  row.crashes = row.crashes + 1
  local kind = birth(row.id).kind
  told.swept[#told.swept + 1] = { 0, row.id, kind, row.attempt, row.crashes, worker }
  local key = string.format('\2%08x@%s/%x', row.attempt, uuid(worker), claim)
  write_line(row, key, now, WARN, CRASH_LINE, { row.attempt, name })
  if row.crashes < max_crashes then
    release(row, now - RESUMED_AGE)
  else
    fail(row, CRASHED, row.crashes)
  end
end

-- Gives up workers whose lease has run out, and takes back what they held. `true` if there is more to do.
local function reclaim_dead_workers(max_crashes)
  local dead = {}
  for _, each in ipairs(by_score(K.leases, now, WORKERS)) do
    if each[2] < now then
      dead[#dead + 1] = each[1]
    end
  end
  table.sort(dead, less)
  local left = HELD
  for _, worker in ipairs(dead) do
    local held = held_by(worker, left + 1)
    local name = name_of(worker)
    for at = 1, math.min(#held, left) do
      crash(task(held[at]), name, max_crashes)
    end
    if #held > left then
      return true
    end
    left = left - #held
    forget_worker(worker)
  end
  return #dead == WORKERS
end

-- Acts on every instant that has come. `true` if there is more to do.
local function fire_timers()
  settle()
  local fired = {}
  for _, each in ipairs(by_score(K.timers, now, FIRED)) do
    fired[#fired + 1] = each[1]
  end
  local more = #fired == FIRED
  table.sort(fired, less)
  for _, id in ipairs(fired) do
    local row = task(id)
    local due = row and timer(row)
    -- An end further up may have reached it meanwhile.
    if due and due <= now and not end_if_overdue(row) then
      wake_if_satisfied(row)
    end
  end
  return more
end

-- Cancels children, top down. `true` if there are more.
local function cascade()
  local left = CASCADE
  while true do
    local first = by_score(K.cascades, math.huge, 1)[1]
    if not first then
      return false
    end
    local each = cmsgpack.unpack(first[1])
    local id, set, below, by = each[2], each[3], each[4], each[5]
    local is_left = false
    if task(id) then
      for _, own in ipairs(set and { set } or sets_of(id)) do
        is_left = each_child(id, own, 0, function(row, number)
          if row.state >= SUCCEEDED or origin_of(own_of(row.id), number) >= below then
            return false
          end
          if left == 0 then
            return true
          end
          left = left - 1
          cancel_with(row, by)
          return false
        end)
        if is_left then
          return true
        end
      end
    end
    remove_cascade(first[1])
  end
end

local function sweep(max_crashes)
  local dead = reclaim_dead_workers(max_crashes)
  local due = fire_timers()
  local falling = cascade()
  return dead, due, falling
end
