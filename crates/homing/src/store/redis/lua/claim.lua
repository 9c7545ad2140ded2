-- The claim: what a worker is given, best first: by priority, then by the instant since when it is due, then by id.
--
-- The index of ready tasks lies class by class. Of each class that the claim takes, the tasks of one priority that
-- are due are a stream; the claim merges the streams. A class of tasks that are kept for another worker, while that
-- worker is known, has a bound in the past: its tasks are everybody's once they have waited.
-- In a function of its own, since one function has 200 local names at most.

local classes, first_from, survey, choose, hand_out_again, take, is_left, next_timer, HANDED_OUT = (function()
  local CHUNK = 100

  -- A text of a class, taken apart.
  local function class_from(text)
    local sort, at = string.sub(text, 1, 1), 4
    local holder = false
    if string.sub(text, 3, 3) == 'h' then
      holder, at = string.sub(text, 4, 19), 20
    end
    local zero = string.find(text, '\0', at, true)
    return {
      sort = sort, is_stalled = string.sub(text, 2, 2) == 'l', holder = holder,
      queue = string.sub(text, at, zero - 1), kind = string.sub(text, zero + 1), text = text,
      hash = class_hash(text),
    }
  end

  local function names_in(list)
    local names = {}
    for _, name in ipairs(list) do
      names[name] = true
    end
    return names
  end

  -- The classes of pending tasks.
  local function classes()
    count_classes()
    local found = {}
    for text, count in pairs(all(K.classes)) do
      if count then
        found[#found + 1] = class_from(text)
        found[#found].count = tonumber(count)
      end
    end
    return found
  end

  -- The first member from a place on, in the part of the index that has one beginning, that this script has not
  -- touched.
  local function first_from(from, prefix)
    local own = changes_of(K.ready)
    local last = '[' .. prefix .. LAST
    while true do
      local rows = redis.call('ZRANGEBYLEX', K.ready, from, last, 'LIMIT', 0, CHUNK)
      for _, member in ipairs(rows) do
        if not own.del[member] and not own.add[member] then
          return member
        end
      end
      if #rows < CHUNK then
        return nil
      end
      from = '(' .. rows[#rows]
    end
  end

  -- The members that this script adds, class by class. One that was added, taken and added again stands twice among them.
  local function added_by_class()
    local own, by_class, seen = changes_of(K.ready), {}, {}
    for _, member in ipairs(own.order) do
      if own.add[member] and not seen[member] then
        seen[member] = own.is_taken
        local hash = string.sub(member, 1, 8)
        local list = by_class[hash]
        if list then
          list[#list + 1] = member
        else
          by_class[hash] = { member }
        end
      end
    end
    return by_class
  end

  -- Looks at one class: the streams of tasks that are due by the bound, and the first instant after it.
  local function look_at(class, bound, added, streams, search)
    local bytes, later = due_bytes(bound), nil
    local function after(member)
      local due = due_from(string.sub(member, 11, 18))
      if not later or due < later then
        later = due
      end
    end
    local member = search and first_from('[' .. class.hash, class.hash)
    while member do
      local group = string.sub(member, 1, 10)
      local next_from = group .. bytes .. LAST
      if not less(bytes, string.sub(member, 11, 18)) then
        streams[#streams + 1] = {
          class = class, from = '[' .. member, last = '[' .. next_from, buffer = {}, at = 1,
        }
      end
      member = first_from('(' .. next_from, class.hash)
      if member and string.sub(member, 1, 10) == group then
        after(member)
        member = first_from('(' .. group .. LAST, class.hash)
      end
    end
    local ready = {}
    for _, new in ipairs(added[class.hash] or {}) do
      if less(bytes, string.sub(new, 11, 18)) then
        after(new)
      else
        ready[#ready + 1] = new
      end
    end
    if #ready > 0 then
      sort(ready)
      streams[#streams + 1] = { class = class, buffer = ready, at = 1, is_new = true }
    end
    return later
  end

  -- The next member of a stream, or nil.
  local function head(stream, wanted)
    local own = changes_of(K.ready)
    while true do
      local member = stream.buffer[stream.at]
      -- What this script adds, or files anew, has a stream of its own.
      if member and not own.del[member] and (stream.is_new or not own.add[member]) then
        return member
      elseif member then
        stream.at = stream.at + 1
      elseif not stream.from then
        return nil
      else
        local limit = math.max(10, math.min(wanted, 500))
        local rows =
          redis.call('ZRANGEBYLEX', K.ready, stream.from, stream.last, 'LIMIT', 0, limit)
        stream.buffer, stream.at = rows, 1
        stream.from = #rows == limit and '(' .. rows[#rows]
      end
    end
  end

  -- What a claim may take: the streams, and the first instant at which there may be more. A claim that does not search
  -- finds what this script has made ready.
  local function survey(worker, claim)
    settle()
    local search = claim[7]
    if not search and not next(changes_of(K.ready).add) then
      return {}, nil
    end
    local queues, kinds, suspect = names_in(claim[3]), names_in(claim[4]), claim[5]
    local added, streams, later = added_by_class(), {}, nil
    for _, class in ipairs(classes()) do
      local serves = queues[class.queue] and kinds[class.kind] and not get(K.paused, class.queue)
      if serves and class.sort ~= 'x' and (suspect or class.sort ~= 's') then
        local is_kept = class.holder and class.holder ~= worker and get(K.workers, class.holder)
        local wait = is_kept and RESUMED_AGE + HOLD or 0
        local due = look_at(class, now - wait, added, streams, search)
        if due and (not later or due + wait < later) then
          later = due + wait
        end
      end
    end
    return streams, later
  end

  -- The best member, and the stream that has it, among those that may still be taken.
  local function best_of(streams, choice, wanted)
    local best, from
    for _, stream in ipairs(streams) do
      local sort = stream.class.sort
      local suits = (sort ~= 's' or choice.suspect) and (sort == 'r' or choice.at_once > 0)
      local member = suits and head(stream, wanted)
      if member and (not best or less(string.sub(member, 9), string.sub(best, 9))) then
        best, from = member, stream
      end
    end
    return best, from
  end

  -- Which tasks are taken, and which of them ahead, as far as the choice goes.
  local function choose_some(streams, choice)
    local chosen = {}
    while choice.at_once + choice.ahead > 0 do
      local member, stream = best_of(streams, choice, choice.at_once + choice.ahead)
      if not member then
        break
      end
      stream.at = stream.at + 1
      local sort = choice.at_once > 0 and 'at_once' or 'ahead'
      choice[sort] = choice[sort] - 1
      choice.suspect = choice.suspect and stream.class.sort ~= 's'
      chosen[#chosen + 1] = { string.sub(member, 19), sort, member, stream.class.text }
    end
    return chosen
  end

  -- Reads by few commands what is about to be claimed.
  local function load_chosen(chosen)
    local ids = {}
    for at, each in ipairs(chosen) do
      ids[at] = each[1]
    end
    load_rows(ids, false)
  end

  -- Which tasks are taken: ids, and in which way. Those whose rows do not decode stand in nobody's way. `again`: how many
  -- of each sort are handed out again.
  local function choose(streams, claim, again)
    local choice = {
      at_once = math.max(0, claim[1] - again.at_once), ahead = math.max(0, claim[2] - again.ahead),
      suspect = claim[5],
    }
    local found, broken = {}, nil
    repeat
      local chosen = choose_some(streams, choice)
      load_chosen(chosen)
      broken = false
      for _, each in ipairs(chosen) do
        local row = task(each[1])
        each[5] = row and whole_birth(each[1])
        if each[5] then
          if row.state == PENDING and not row.filed then
            row.filed = filing_of_ready(row, each[3], each[4])
          end
          found[#found + 1] = each
        else
          broken = true
          choice[each[2]] = choice[each[2]] + 1
        end
      end
    until not broken
    return found, choice
  end

  -- A task as it is handed out, six values: id, claim, birth, row, whether it had begun before, answers.
  local HANDED_OUT = 6

  local function hand_out(claimed, row, birth_blob, begun, answers)
    local at = #claimed
    claimed[at + 1], claimed[at + 2], claimed[at + 3] = row.id, row.claim, birth_blob
    claimed[at + 4], claimed[at + 5] = row_blob(row), begun and true or false
    claimed[at + 6] = #answers > 0 and answers
  end

  -- Tasks whose claim was in a reply that never arrived.
  local function hand_out_again(worker, acknowledged)
    settle()
    local again, ids = { at_once = 0, ahead = 0, claimed = {} }, {}
    local own = changes_of(K.running)
    local last = worker .. u64(2 * acknowledged + 1) .. LAST
    local rows = redis.call('ZRANGEBYLEX', K.running, '(' .. last, '[' .. worker .. LAST)
    for _, member in ipairs(rows) do
      if not own.del[member] then
        ids[#ids + 1] = string.sub(member, 25)
      end
    end
    sort(ids)
    for _, id in ipairs(ids) do
      local row = task(id)
      local blob = row and whole_birth(id)
      if blob then
        local sort = row.claim % 2 == 1 and 'ahead' or 'at_once'
        again[sort] = again[sort] + 1
        hand_out(again.claimed, row, blob, row.started, {})
      end
    end
    return again
  end

  local function take(claimed, each, worker, claim)
    local row = touch(task(each[1]))
    local waits = waits_of(row)
    if not waits then
      stand_still(row, 'its waits')
      return
    end
    local answers, broken = answer(row, waits)
    if not answers then
      stand_still(row, string.format('entry %.0f of its record', broken))
      return
    end
    clear_waits(row)
    if #answers > 0 then
      -- An answer is progress: it renews the budgets of retries and crashes.
      renew(row)
    end
    local begun = row.started
    row.state, row.worker, row.claim, row.holder = RUNNING, worker, claim, false
    if row.parked_worker ~= worker then
      row.parked_worker = false
    end
    -- What may expire has begun once it says something.
    if not row.started and not (claim % 2 == 1 and row.expires) then
      row.started = now
    end
    hand_out(claimed, row, each[5], begun, answers)
  end

  -- Whether tasks are left that must begin at once.
  local function is_left(streams, choice)
    for _, stream in ipairs(streams) do
      local sort = stream.class.sort
      if (sort == 'd' or (sort == 's' and choice.suspect)) and head(stream, 1) then
        return true
      end
    end
    return false
  end

  -- The first instant to come at which a task must be looked at.
  local function next_timer()
    local own = changes_of(K.timers)
    local first
    local rows = redis.call(
      'ZRANGEBYSCORE', K.timers, string.format('(%.17g', now), '+inf', 'WITHSCORES', 'LIMIT', 0,
      1 + own.count
    )
    for at = 1, #rows, 2 do
      if not own.del[rows[at]] and not own.add[rows[at]] then
        first = tonumber(rows[at + 1])
        break
      end
    end
    for _, score in pairs(own.add) do
      if score > now and (not first or score < first) then
        first = score
      end
    end
    return first
  end

  return classes, first_from, survey, choose, hand_out_again, take, is_left, next_timer, HANDED_OUT
end)()
