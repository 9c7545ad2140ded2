-- Upkeep: dead workers, due instants, cancellations on their way down. A bounded part of each exchange.
-- In a function of its own, since one function has 200 local names at most.

local HELD, forget_worker, held_by, cascade, sweep = (function()
  -- Workers given up, tasks taken back and instants acted on by one script.
  local WORKERS, HELD, FIRED = 100, 1000, 1000

  local function name_of(worker)
    local blob = get(K.workers, worker)
    local known = blob and decode(blob)
    return known and known[4] or ''
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
    sort(found)
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
    local worker, claim = row and row.worker, row and row.claim
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
    sort(dead)
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
    sort(fired)
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

  -- Children looked at on the way down by one script.
  local LOOKED = 5000
  local stored_cascades, cascade_after, cascades_taken = {}, '-inf', 0

  -- The first cascade that is left: those that were there, by their numbers, then those of this script.
  local function first_cascade()
    while true do
      if #stored_cascades == 0 and cascade_after then
        local rows = redis.call(
          'ZRANGEBYSCORE', K.cascades, cascade_after, '+inf', 'WITHSCORES', 'LIMIT', 0, 50
        )
        for at = #rows - 1, 1, -2 do
          stored_cascades[#stored_cascades + 1] = rows[at]
        end
        cascade_after = #rows > 0 and '(' .. rows[#rows] or false
      end
      local first = stored_cascades[#stored_cascades]
      if not first then
        return cascades_added[cascades_taken + 1]
      elseif not changes_of(K.cascades).del[first] then
        return first
      end
      table.remove(stored_cascades)
    end
  end

  local function end_cascade(member)
    if stored_cascades[#stored_cascades] == member then
      table.remove(stored_cascades)
    else
      cascades_taken = cascades_taken + 1
    end
    remove_cascade(member)
    put(K.meta, 'u', false)
  end

  -- Goes down one cascade. `true` if there is more of it: then it is kept where the next look begins.
  local function go_down(member, left)
    local each = cmsgpack.unpack(member)
    local number, id, set, below, by = each[1], each[2], each[3], each[4], each[5]
    local kept = get(K.meta, 'u')
    local at, from = 1, 0
    if kept then
      local cursor = cmsgpack.unpack(kept)
      if cursor[1] == number then
        at, from = cursor[2], cursor[3]
      end
    end
    local own_sets = task(id) and (set and { set } or sets_of(id)) or {}
    while at <= #own_sets do
      if left.looks <= 0 then
        put(K.meta, 'u', cmsgpack.pack({ number, at, from }))
        return true
      end
      local children, after = children_from(id, own_sets[at], from, 250)
      left.looks = left.looks - 250
      for _, child in ipairs(children) do
        local row, origin = child[1], origin_of(own_of(child[1].id), child[2])
        if row.state < SUCCEEDED and origin < below then
          if left.ends == 0 then
            put(K.meta, 'u', cmsgpack.pack({ number, at, child[2] }))
            return true
          end
          left.ends = left.ends - 1
          cancel_with(row, by)
        end
      end
      if after then
        from = after
      else
        at, from = at + 1, 0
      end
    end
    return false
  end

  -- Cancels children, top down. `true` if there are more.
  local function cascade()
    local left = { ends = CASCADE, looks = LOOKED }
    while true do
      local first = first_cascade()
      if not first then
        return false
      elseif left.looks <= 0 or go_down(first, left) then
        return true
      end
      end_cascade(first)
      left.looks = left.looks - 1
    end
  end

  -- Goes on with what a script has left: tasks that wait for jobs that have ended. `true` if there is more to do.
  local function wake_rest()
    for job, is_left in pairs(all(K.over)) do
      if is_left then
        wake_watchers(job)
        return true
      end
    end
    return false
  end

  -- What somebody has begun and nobody has gone on with for a second.
  local function find_what_was_left()
    local some = redis.call('HSCAN', K.out, '0', 'COUNT', 100)[2]
    for at = 1, #some, 2 do
      local order = decode(some[at + 1])
      if order and order[4] < now - 1000000 then
        told.old[some[at]] = some[at + 1]
      end
    end
    for _, job in ipairs(by_score(K.retries, now - 1000000, 10)) do
      told.retries[#told.retries + 1] = job[1]
    end
  end

  local function sweep(max_crashes)
    local dead = reclaim_dead_workers(max_crashes)
    local due = fire_timers()
    local falling = cascade()
    local waking = wake_rest()
    find_what_was_left()
    return dead, due, falling or waking
  end

  return HELD, forget_worker, held_by, cascade, sweep
end)()
