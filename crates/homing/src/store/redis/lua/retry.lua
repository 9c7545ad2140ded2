-- `retry`: a failed job goes on, and what failed runs again. Asked: job, whether only to say what would be.
--
-- Cancellations that are still on their way down would hit what is reopened, so they are carried to their ends
-- first; the process then asks again.
-- In a function of its own, since one function has 200 local names at most.

return (function()
  local DONE, AGAIN, OPEN, SUCCEEDED_ALREADY, HELD_BY = 0, 1, 2, 3, 4

  local reopened, taken_back, removed = {}, 0, 0

  local function less_one(number)
    return math.max(0, number - 1)
  end

  local function end_field(b, number)
    return 'd' .. b.parent .. b.set .. u64(number)
  end

  -- Takes an ended child out of its set's counts.
  local function uncount(row)
    local b = birth(row.id)
    if not b.parent then
      return
    end
    touch(row)
    local counts = change_counts(job_of(row.id) .. b.parent, b.set)
    if row.end_number then
      put(key_of(row.id), end_field(b, row.end_number), false)
      row.end_number = false
    end
    if row.state == SUCCEEDED then
      counts.succeeded = less_one(counts.succeeded)
    elseif row.state == FAILED then
      counts.failed = less_one(counts.failed)
    elseif row.by == BY_ABORT or row.by == BY_POLICY then
      counts.aborted = less_one(counts.aborted)
    else
      counts.cancelled = less_one(counts.cancelled)
    end
    while counts.last_end > 0 and not get(key_of(row.id), end_field(b, counts.last_end)) do
      counts.last_end = counts.last_end - 1
    end
  end

  local function children_of(id, sets_asked)
    local found = {}
    for _, set in ipairs(sets_asked) do
      each_child(id, set, 0, function(row, number)
        found[#found + 1] = { row, number, set }
        return false
      end)
    end
    return found
  end

  local function remove_tree(row)
    local id, own_sets = row.id, sets_of(row.id)
    local key, own = key_of(id), own_of(id)
    for _, child in ipairs(children_of(id, own_sets)) do
      remove_tree(child[1])
      put(key, child_field(id, child[3], child[2]), false)
    end
    removed = removed + 1
    for at, set in ipairs(own_sets) do
      for number = 1, counts_of(id, set).last_end do
        put(key, 'd' .. own .. set .. u64(number), false)
      end
      sets[id .. set] = nil
      put(key, 's' .. own .. set, false)
      put(key, 't' .. own .. u32(at), false)
    end
    for number = 1, row.records do
      put(key, record_field(id, number), false)
    end
    put(key, 'e' .. own, false)
    touch(row)
    forget_signals(row)
    row.gone = true
  end

  local function is_below(place, own)
    return place == own or string.sub(place, 1, #own + 1) == own .. '/'
  end

  -- `cause`: places, since, grown, only, given, aborted, aborted before, bad signals; see `Cause`.
  local function goes(cause, number, entry)
    if (cause[2] and number >= cause[2]) or entry[2] == RETURNED then
      return true
    end
    for _, place in ipairs(cause[1]) do
      if is_below(entry[1], place) then
        return true
      end
    end
    return false
  end

  local function has(list, wanted)
    for _, each in ipairs(list) do
      if each == wanted then
        return true
      end
    end
    return false
  end

  -- Takes entries out of the record. A signal that was an answer is sent again, unless the body does not take it.
  local function take_back_entries(row, cause)
    local key, last, names = key_of(row.id), 0, {}
    for number = 1, row.records do
      names[number] = record_field(row.id, number)
    end
    load(key, names)
    for number = 1, row.records do
      local blob = get(key, names[number])
      local entry = blob and cmsgpack.unpack(blob)
      if entry and goes(cause, number, entry) then
        put(key, names[number], false)
        taken_back = taken_back + 1
        local sends_again = entry[2] == ANSWER and not has(cause[8], entry[1])
        if sends_again and entry[5] and entry[6] then
          keep_signal(row, entry[6], entry[5])
        end
      elseif entry then
        last = number
      end
    end
    row.records = last
  end

  local function take_back_children(row, cause)
    for _, grown in ipairs(cause[3]) do
      local set, kept = grown[1], grown[2]
      for _, child in ipairs(children_of(row.id, { set })) do
        local below, number = child[1], child[2]
        if origin_of(own_of(below.id), number) >= kept then
          uncount(below)
          local counts = change_counts(row.id, set)
          counts.spawned = less_one(counts.spawned)
          row.children = less_one(row.children)
          if number >= CHILDREN then
            counts.added = less_one(counts.added)
          else
            row.own_children = less_one(row.own_children)
          end
          remove_tree(below)
          put(key_of(row.id), child_field(row.id, set, number), false)
        end
      end
    end
  end

  -- Whether one of the aborts of a body is of a child.
  local function is_aborted(aborts, own, number, set)
    for _, abort in ipairs(aborts) do
      local one, below = abort[2], abort[3]
      if abort[1] == set
        and ((one and one == own) or (not one and origin_of(own, number) < below)) then
        return true
      end
    end
    return false
  end

  -- Whether the retry of its parent reopens a child: what fell with the parent, what was lost, and what the parent
  -- aborted after the loss. One that the body had been told of by then stays as it is, and so does one that fell
  -- before an abort of the body's reached it.
  local function is_reopened(row, number, set, cause)
    local own = own_of(row.id)
    local is_by_body = row.by == BY_ABORT or row.by == BY_POLICY
    if row.state ~= FAILED and row.state ~= CANCELLED then
      return false
    elseif row.state == CANCELLED and not is_by_body and row.by ~= BY_USER then
      return true
    elseif not cause or has(cause[5], own) then
      return false
    elseif row.state == CANCELLED and is_by_body then
      return is_aborted(cause[6], own, number, set)
    elseif is_aborted(cause[7], own, number, set) then
      return false
    end
    for _, only in ipairs(cause[4]) do
      local ended = row.end_number or 0
      if only[1] == set and ended > only[2] and not has(only[3], ended) then
        return true
      end
    end
    return #cause[4] == 0
  end

  local function reopen(row)
    touch(row)
    local field = 'e' .. own_of(row.id)
    local blob = get(key_of(row.id), field)
    put(key_of(row.id), field, false)
    row.state, row.due, row.attempt = PENDING, now, row.attempt + 1
    renew(row)
    row.outcome, row.by, row.ended, row.end_number = false, false, false, false
    row.expires, row.deadline, row.parked_worker = false, false, false
    return blob and cmsgpack.unpack(blob)
  end

  local function reopen_job(root)
    local open = { root }
    while #open > 0 do
      local row = table.remove(open)
      reopened[#reopened + 1] = row.id
      local cause = reopen(row)
      if cause then
        take_back_entries(row, cause)
        take_back_children(row, cause)
      end
      settle()
      local below = {}
      for _, child in ipairs(children_of(row.id, sets_of(row.id))) do
        if is_reopened(child[1], child[2], child[3], cause) then
          below[#below + 1] = child[1]
        end
      end
      for _, child in ipairs(below) do
        uncount(child)
        open[#open + 1] = child
      end
    end
  end

  local job, is_preview = asked[4][1], asked[4][2]
  local root = root_of(job)
  if not root then
    return answer_only(false)
  end
  if root.state == SUCCEEDED then
    return answer_only({ SUCCEEDED_ALREADY })
  elseif root.state < SUCCEEDED then
    return answer_only({ OPEN })
  end
  local key = cmsgpack.unpack(get(LANE .. 'j:' .. job, 'j'))[2]
  local holder = key and get(K.keys, key)
  if holder then
    local held = root_of(holder)
    if held and end_if_overdue(held) then
      return commit({ AGAIN })
    end
    return answer_only({ HELD_BY, holder })
  end
  if by_score(K.cascades, math.huge, 1)[1] then
    cascade()
    return commit({ AGAIN })
  end
  reopen_job(root)
  if is_preview then
    return answer_only({ DONE, reopened, taken_back, removed })
  end
  if key then
    put(K.keys, key, job)
  end
  zrem(K.settled, job)
  told.ready = true
  return commit({ DONE, reopened, taken_back, removed })
end)()
