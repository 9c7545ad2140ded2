-- Units: what happened in a task since it last said something. Applied whole or refused whole.
-- In a function of its own, since one function has 200 local names at most.

local apply, load_units, signal = (function()
  local BEGIN, RECORD, SPAWN, ADD, DETACH, SIGNAL_SENT, ABORT, LOG, PROGRESS = 1, 2, 3, 4, 5, 6, 7, 8, 9
  local PARK, SUCCEED, FAIL, TRY_AGAIN, STALL, HAND_BACK = 10, 11, 12, 13, 14, 15
  local LOST, DRIFT, TOO_MANY = 0, 1, 2

  local function spawn(row, event)
    local own, set, number, id = event[2], event[3], event[4], event.id
    if task(id) then
      return
    end
    insert(id, event[5], row.depth + 1, event[6], event[7], event[8])
    local counts = change_counts(row.id, set)
    counts.spawned = counts.spawned + 1
    counts.numbers = math.max(counts.numbers, number + 1)
    touch(row)
    row.children, row.own_children = row.children + 1, row.own_children + 1
    keep_child(row.id, set, number, own)
  end

  -- Refuses what would join a set behind a cancellation, or of a parent that has ended.
  local function check_growth(row, event)
    local parent, set, origin = job_of(row.id) .. event[4], event[5], event[8]
    if not is_open(task(parent)) then
      return { LOST }
    end
    local falls = get(key_of(parent), 'x' .. own_of(parent))
    for _, fall in ipairs(falls and decode(falls) or {}) do
      if (not fall[2] or fall[2] == set) and origin < fall[3] then
        return { LOST }
      end
    end
    if CHILDREN + counts_of(parent, set).last_added > 4294967295 then
      return { TOO_MANY }
    end
    return nil
  end

  local function add_sibling(row, event)
    local number, entry, set, own = event[2], event[3], event[5], event[6]
    if get(key_of(row.id), record_field(row.id, number)) then
      return
    end
    record(row, number, entry)
    local parent, id = job_of(row.id) .. event[4], job_of(row.id) .. own
    -- The set is known from here on, though the member may be there already.
    local counts = change_counts(parent, set)
    if task(id) then
      return
    end
    local number_in_set = CHILDREN + counts.last_added
    local birth_now = birth_with(event[7], 3, number_in_set)
    insert(id, birth_now, row.depth, event[9], event[10], event[11])
    counts.spawned, counts.added = counts.spawned + 1, counts.added + 1
    counts.last_added = counts.last_added + 1
    local above = touch(task(parent))
    above.children = above.children + 1
    keep_child(parent, set, number_in_set, own)
  end

  -- Keeps a signal, unless its task has succeeded or is unknown. One that fell may run again, by the retry of its job:
  -- whoever sent it has that in its record, and does not send it again.
  local function signal(id, name, value)
    local row = task(id)
    if not row or row.state == SUCCEEDED then
      return
    end
    keep_signal(row, name, value)
    if row.state == WAITING then
      wake_if_satisfied(row)
    end
  end

  local function signal_once(row, event)
    if get(key_of(row.id), record_field(row.id, event[2])) then
      return
    end
    record(row, event[2], event[3])
    signal(job_of(row.id) .. event[4], event[5], event[6])
  end

  local function abort(row, event)
    local set, child, below, by = event[2], event[3], event[4], event[5]
    if not child then
      add_cascade(row.id, set, below, by)
      return
    end
    local one = task(job_of(row.id) .. child)
    if one then
      cancel_with(one, by)
    end
  end

  -- `event`: the waits as they are kept, whether the worker keeps the future, the first instant among them.
  local function park(row, event)
    local waits = cmsgpack.unpack(event[2])[1]
    local answers, broken = answer(row, waits)
    if not answers then
      stand_still(row, string.format('entry %.0f of its record', broken))
      return nil, { LOST }
    elseif #answers > 0 then
      return answers
    end
    for _, wait in ipairs(waits) do
      for _, arm in ipairs(wait[4]) do
        watch(arm, row)
      end
    end
    touch(row)
    put(key_of(row.id), 'w' .. own_of(row.id), event[2])
    row.has_waits, row.wake = true, event[4]
    -- It came as far as its record goes, so it fits.
    row.state, row.stalls = WAITING, 0
    row.parked_worker, row.parked_claim = row.worker, row.claim
    row.holder = event[3] and row.worker
    row.worker = false
    return nil, nil
  end

  local function finish_as(row, state, outcome)
    -- The worker's own word needs no notice: it knows.
    touch(row)
    row.worker = false
    finish(row, state, outcome, false)
  end

  local function happen(row, event)
    local what = event[1]
    if what == RECORD then
      if not get(key_of(row.id), record_field(row.id, event[2])) then
        record(row, event[2], event[3])
      end
    elseif what == SPAWN then
      spawn(row, event)
    elseif what == ADD then
      add_sibling(row, event)
    elseif what == DETACH then
      submit(event, 2)
    elseif what == SIGNAL_SENT then
      signal_once(row, event)
    elseif what == ABORT then
      abort(row, event)
    elseif what == LOG then
      write_line(row, event[2], event[3], event[4], TEXT, event[5])
    elseif what == PROGRESS then
      touch(row)
      row.progress, row.share = event[2], event[3]
    elseif what == PARK then
      return park(row, event)
    elseif what == SUCCEED then
      finish_as(row, SUCCEEDED, event[2])
    elseif what == FAIL then
      if event[3] then
        put(key_of(row.id), 'e' .. own_of(row.id), event[3])
      end
      finish_as(row, FAILED, event[2])
    elseif what == TRY_AGAIN then
      release(row, event[3])
      row.attempt, row.failures, row.stalls = row.attempt + 1, row.failures + 1, 0
      row.reason = event[2]
    elseif what == STALL then
      release(row, event[3])
      row.stalls, row.reason = row.stalls + 1, event[2]
    elseif what == HAND_BACK then
      release(row, row.claim % 2 == 1 and row.due or now - RESUMED_AGE)
    end
    return nil
  end

  -- Units, six values for each: task, worker, claim, whether it renews budgets, whether it shows that its task has begun,
  -- events. Most have one event, the end: it stands for itself, the others are lists.
  local UNIT, ONLY_END = 6, {}

  local function events_of(units, at)
    local events = units[at + 5]
    return type(events) == 'table' and events or ONLY_END
  end

  -- Applies a unit. Returns answers of a park that is satisfied already, and why it is refused.
  local function apply(units, first)
    local row, only_end = task(units[first]), units[first + 5]
    if not row or row.state ~= RUNNING or row.worker ~= units[first + 1]
      or row.claim ~= units[first + 2] then
      return nil, { LOST }
    end
    local events = events_of(units, first)
    for at, event in ipairs(events) do
      if event[1] == SPAWN then
        local id = job_of(row.id) .. event[2]
        event.id = id
        if task(id) then
          local known, new = birth(id), birth_from(event[5])
          if known.kind ~= new.kind or hash_of(known) ~= hash_of(new) then
            return nil, { DRIFT, at, known.kind, arguments_of(known) }
          end
        end
      elseif event[1] == ADD then
        local refusal = check_growth(row, event)
        if refusal then
          return nil, refusal
        end
      end
    end
    if units[first + 3] then
      renew(row)
    end
    if units[first + 4] and not row.started then
      touch(row)
      row.started = now
    end
    local answers, refusal
    for _, event in ipairs(events) do
      answers, refusal = happen(row, event)
    end
    if events == ONLY_END then
      finish_as(row, SUCCEEDED, only_end)
    end
    return answers, refusal
  end

  -- Reads by few commands what the units name, and then what their tasks' parents have.
  local function load_units(units)
    local wanted = {}
    local function want(id, name)
      local key = key_of(id)
      local names = wanted[key]
      if names then
        names[#names + 1] = name
      else
        wanted[key] = { name }
      end
    end
    local function load_wanted()
      for key, names in pairs(wanted) do
        load(key, names)
      end
      wanted = {}
    end
    local ids = {}
    for at = 1, #units, UNIT do
      local id = units[at]
      local own = own_of(id)
      ids[#ids + 1] = id
      if own ~= ROOT then
        want(id, 'n')
      end
      local set
      for _, event in ipairs(events_of(units, at)) do
        if event[1] == RECORD then
          want(id, record_field(id, event[2]))
        elseif event[1] == SPAWN then
          want(id, 'o' .. event[2])
          if event[3] ~= set then
            set = event[3]
            want(id, 's' .. own .. set)
          end
        end
      end
    end
    load_rows(ids, true)
    load_wanted()
    -- What their tasks' parents have.
    local parents, is_known = {}, {}
    for _, id in ipairs(ids) do
      local b = task(id) and birth(id)
      local parent = b and b.parent and job_of(id) .. b.parent
      if parent then
        if not is_known[parent] then
          is_known[parent] = true
          parents[#parents + 1] = parent
          want(parent, 'w' .. b.parent)
        end
        want(parent, 's' .. b.parent .. b.set)
      end
    end
    load_rows(parents, true)
    load_wanted()
  end

  return apply, load_units, signal
end)()
