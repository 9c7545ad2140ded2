-- `retry`: a failed job goes on, and what failed runs again. Asked: job, whether only to say what would be, and for a
-- preview that goes on, what the script before has left.
--
-- Cancellations that are still on their way down would hit what is reopened, so they are carried to their ends
-- first; the process then asks again. It does so too while there is more to reopen than one script can bear. What is
-- left stands in the job's field `y`, and what was reopened is held, so that no task runs before all of it is there;
-- then it is released, a part at a time. Whoever finds a retry that nobody goes on with goes on with it.
-- In a function of its own, since one function has 200 local names at most.

return (function()
  local DONE, AGAIN, OPEN, SUCCEEDED_ALREADY, HELD_BY = 0, 1, 2, 3, 4
  local REOPEN, FALLEN, GROWN, REMOVE = 1, 2, 3, 4
  local LOOKS, PAGE, RETRIED = limits[8], 250, 100

  local left = LOOKS
  -- What is to be done, last first; how much was; the first of the reopened tasks.
  local work, reopened, taken_back, removed, first = {}, 0, 0, 0, {}
  -- Those that this script has reopened.
  local fresh = {}

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
    else
      zrem(fallen_key(row.id), fallen_member(row, b))
      if row.state == FAILED then
        counts.failed = less_one(counts.failed)
      elseif row.by == BY_ABORT or row.by == BY_POLICY then
        counts.aborted = less_one(counts.aborted)
      else
        counts.cancelled = less_one(counts.cancelled)
      end
    end
    while counts.last_end > 0 and not get(key_of(row.id), end_field(b, counts.last_end)) do
      counts.last_end = counts.last_end - 1
    end
  end

  -- Removes a task and, page by page, everything below it.
  local function remove(item)
    local id = item[2]
    local row, own_sets, at, from = task(id), sets_of(id), item[3], item[4]
    local key, own = key_of(id), own_of(id)
    if at <= #own_sets then
      local set = own_sets[at]
      local children, after = children_from(id, set, from, PAGE)
      left = left - PAGE
      work[#work + 1] = { REMOVE, id, after and at or at + 1, after or 0 }
      for _, child in ipairs(children) do
        work[#work + 1] = { REMOVE, child[1].id, 1, 0 }
        forget_child(id, set, child[2], own_of(child[1].id))
        if child[1].state > SUCCEEDED then
          zrem(fallen_key(id), fallen_member(child[1], birth(child[1].id)))
        end
      end
      return
    end
    removed, left = removed + 1, left - 1 - row.records / 20
    for place, set in ipairs(own_sets) do
      for number = 1, counts_of(id, set).last_end do
        put(key, 'd' .. own .. set .. u64(number), false)
      end
      sets[id][set] = nil
      put(key, 's' .. own .. set, false)
      put(key, 't' .. own .. u32(place), false)
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

  -- Signals that had been given out are older than those that were not: they come before them, as they were sent.
  local function send_again(row, again)
    local kept = {}
    for number = math.max(row.first_signal, 1), row.last_signal do
      local blob = get(key_of(row.id), signal_field(row.id, number))
      kept[#kept + 1] = blob and decode(blob) or nil
    end
    forget_signals(row)
    for _, signals in ipairs({ again, kept }) do
      for _, signal in ipairs(signals) do
        keep_signal(row, signal[1], signal[2])
      end
    end
  end

  -- Takes entries out of the record. A signal that was an answer is there again, unless the body does not take it.
  local function take_back_entries(row, cause)
    local key, last, names, again = key_of(row.id), 0, {}, {}
    for number = 1, row.records do
      names[number] = record_field(row.id, number)
    end
    load(key, names)
    left = left - row.records / 20
    for number = 1, row.records do
      local blob = get(key, names[number])
      local entry = blob and (decode(blob) or { '', JSON })
      if entry and goes(cause, number, entry) then
        put(key, names[number], false)
        taken_back = taken_back + 1
        local sends_again = entry[2] == ANSWER and not has(cause[8], entry[1])
        if sends_again and entry[5] and entry[6] then
          again[#again + 1] = { entry[6], entry[5] }
        end
      elseif entry then
        last = number
      end
    end
    row.records = last
    if #again > 0 then
      send_again(row, again)
    end
  end

  -- Takes back children that came after the loss, a page of them.
  local function take_back_children(item)
    local id, set, kept, from = item[2], item[3], item[4], item[5]
    local row = task(id)
    local children, after = children_from(id, set, from, PAGE)
    left = left - PAGE
    if after then
      work[#work + 1] = { GROWN, id, set, kept, after }
    end
    for _, child in ipairs(children) do
      local below, number = child[1], child[2]
      if origin_of(own_of(below.id), number) >= kept then
        uncount(below)
        local counts = change_counts(id, set)
        counts.spawned = less_one(counts.spawned)
        touch(row)
        row.children = less_one(row.children)
        if number >= CHILDREN then
          counts.added = less_one(counts.added)
        else
          row.own_children = less_one(row.own_children)
        end
        forget_child(id, set, number, own_of(below.id))
        work[#work + 1] = { REMOVE, below.id, 1, 0 }
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

  -- Looks at a page of a reopened task's children that fell.
  local function look_at_fallen(item)
    local id, cause, after = item[2], item[3], item[4]
    local prefix = own_of(id)
    local members = redis.call(
      'ZRANGEBYLEX', fallen_key(id), after and '(' .. after or '[' .. prefix,
      '[' .. prefix .. LAST, 'LIMIT', 0, PAGE
    )
    left = left - #members
    if #members == PAGE then
      work[#work + 1] = { FALLEN, id, cause, members[PAGE] }
    end
    local names = {}
    for at, member in ipairs(members) do
      names[2 * at - 1] = 'o' .. string.sub(member, 37)
      names[2 * at] = 'b' .. string.sub(member, 37)
    end
    load(key_of(id), names)
    for _, member in ipairs(members) do
      local row = task(job_of(id) .. string.sub(member, 37))
      local set, number = string.sub(member, 17, 32), struct.unpack('>I4', member, 33)
      if row and not row.gone and is_reopened(row, number, set, cause) then
        work[#work + 1] = { REOPEN, row.id }
      end
    end
  end

  local job, is_preview, kept = asked[4][1], asked[4][2], asked[4][3]

  local function reopen(item)
    local row = task(item[2])
    local b = row and birth(row.id)
    -- Somebody may have cancelled what is above it meanwhile.
    local is_orphan = not is_preview and b and b.parent and not is_open(task(job_of(row.id) .. b.parent))
    if not row or is_open(row) or is_orphan then
      return
    end
    uncount(row)
    touch(row)
    left, reopened, first[#first + 1] = left - 1, reopened + 1, row.id
    fresh[#fresh + 1] = row
    local field = 'e' .. own_of(row.id)
    local blob = get(key_of(row.id), field)
    local cause = blob and decode(blob)
    put(key_of(row.id), field, false)
    row.state, row.due, row.attempt = PENDING, now, row.attempt + 1
    renew(row)
    row.outcome, row.by, row.ended, row.end_number = false, false, false, false
    row.expires, row.deadline, row.parked_worker, row.held = false, false, false, false
    work[#work + 1] = { FALLEN, row.id, cause or false, false }
    if cause then
      take_back_entries(row, cause)
      for _, grown in ipairs(cause[3]) do
        work[#work + 1] = { GROWN, row.id, grown[1], grown[2], 0 }
      end
    end
  end

  local STEPS = {
    [REOPEN] = reopen, [FALLEN] = look_at_fallen, [GROWN] = take_back_children, [REMOVE] = remove,
  }

  local function go_on()
    while #work > 0 and left > 0 do
      local item = table.remove(work)
      STEPS[item[1]](item)
    end
    sort(first)
    while #first > RETRIED do
      table.remove(first)
    end
  end

  local function answer_done()
    return { DONE, reopened, first, taken_back, removed }
  end

  local function state()
    return cmsgpack.pack({ work, reopened, taken_back, removed, first })
  end

  local function restore(blob)
    local kept = cmsgpack.unpack(blob)
    work, reopened, taken_back, removed, first = kept[1], kept[2], kept[3], kept[4], kept[5]
  end

  local function hold(rows)
    for _, row in ipairs(rows) do
      row.held = true
    end
  end

  -- Lets a part of what is held go. Whether that was all.
  local function release_held()
    count_classes()
    for class in pairs(all(K.classes)) do
      if string.sub(class, 1, 1) == 'x' and string.sub(class, 4, 19) == job then
        for _, member in ipairs(by_prefix(K.ready, class_hash(class), left)) do
          local row = task(string.sub(member, 19))
          if row then
            touch(row)
            row.held = false
          end
          left = left - 1
        end
      end
      if left <= 0 then
        return false
      end
    end
    return true
  end

  -- Goes on with a retry of which a part is done.
  local function carry_on(blob)
    local key = LANE .. 'j:' .. job
    restore(blob)
    if #work > 0 then
      go_on()
      hold(fresh)
    elseif release_held() then
      put(key, 'y', false)
      zrem(K.retries, job)
      told.ready = true
      return commit(answer_done())
    end
    put(key, 'y', state())
    zadd(K.retries, job, now)
    return commit({ AGAIN, false })
  end

  local root = root_of(job)
  local begun = get(LANE .. 'j:' .. job, 'y')
  if not root then
    if redis.call('ZSCORE', K.retries, job) then
      zrem(K.retries, job)
      return commit(false)
    end
    return answer_only(false)
  elseif begun and not is_preview then
    return carry_on(begun)
  elseif root.state == SUCCEEDED then
    return answer_only({ SUCCEEDED_ALREADY })
  elseif root.state < SUCCEEDED then
    return answer_only({ OPEN })
  end
  local about = get(LANE .. 'j:' .. job, 'j')
  local key = about and cmsgpack.unpack(about)[2]
  local holder = key and get(K.keys, key)
  if holder then
    local held = root_of(holder)
    if held and end_if_overdue(held) then
      return commit({ AGAIN, false })
    end
    return answer_only({ HELD_BY, holder })
  end
  if cascade() or next(changes_of(K.cascades).del) then
    return commit({ AGAIN, false })
  end
  if kept then
    restore(kept)
  else
    work[1] = { REOPEN, root.id }
  end
  go_on()
  if is_preview then
    return answer_only(#work > 0 and { AGAIN, state() } or answer_done())
  end
  if key then
    put(K.keys, key, job)
  end
  zrem(K.settled, job)
  if #work > 0 then
    hold(fresh)
    put(LANE .. 'j:' .. job, 'y', state())
    zadd(K.retries, job, now)
    return commit({ AGAIN, false })
  end
  told.ready = true
  return commit(answer_done())
end)()
