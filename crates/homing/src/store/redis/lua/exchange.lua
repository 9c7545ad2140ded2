-- `exchange`: units first, then upkeep, then the claim.
-- Asked: worker, number, acknowledged, units, claim (at once, ahead, queues, kinds, suspect, crashes, search), which only
-- the last script of an exchange has.
-- In a function of its own, since one function has 200 local names at most.

return (function()
  -- A copy of a request that was delayed on its way, and was overtaken by later ones, does nothing.
  local STALE = 0

  local function notices(worker, number, acknowledged)
    local kept, answers = {}, {}
    local known = notices_of(worker)
    for _, notice in ipairs(known) do
      if not notice[3] or notice[3] > acknowledged then
        notice[3] = notice[3] or number
        kept[#kept + 1] = notice
        answers[#answers + 1] = { notice[1], notice[2] }
      end
    end
    if #known > 0 then
      keep_notices(worker, kept)
    end
    return answers
  end

  -- A list, packed in parts: it may be longer than what a function takes.
  local function packed_list(list)
    local parts = { '\221' .. u32(#list) }
    for from = 1, #list, SLICE do
      parts[#parts + 1] = cmsgpack.pack(unpack(list, from, math.min(from + SLICE - 1, #list)))
    end
    return table.concat(parts)
  end

  local function claim_for(worker, number, acknowledged, claim)
    local again = hand_out_again(worker, acknowledged)
    local claimed = again.claimed
    if claim[1] + claim[2] == 0 then
      return claimed, false, nil
    end
    local streams, later = survey(worker, claim)
    local chosen, choice = choose(streams, claim, again)
    for _, each in ipairs(chosen) do
      take(claimed, each, worker, 2 * number + (each[2] == 'ahead' and 1 or 0))
    end
    settle()
    -- A worker that has no room left looks again as soon as it has some.
    later = #claimed / HANDED_OUT < claim[1] + claim[2] and later or nil
    return claimed, claim[2] > 0 and is_left(streams, choice), later
  end

  local request = asked[4]
  local worker, number, acknowledged, claim = request[1], request[2], request[3], request[5]
  local fence = get(K.fence, worker)
  if fence and tonumber(fence) > number then
    return answer_only({ STALE })
  end
  local is_known = get(K.workers, worker)
  if is_known then
    put(K.fence, worker, string.format('%.0f', number))
  end

  load_units(request[4])
  local refused, ready = {}, {}
  local units = request[4]
  for first = 1, #units, 6 do
    local answers, refusal = apply(units, first)
    if refusal then
      refused[#refused + 1] = { (first + 5) / 6, refusal }
    elseif answers then
      ready[#ready + 1] = { (first + 5) / 6, answers }
    end
  end
  wake_parents()
  if not claim then
    -- More units of the same exchange follow.
    return commit({ refused, ready, {}, {}, false, false })
  end
  local dead, due, falling = sweep(claim[6])
  wake_parents()
  local cancelled = notices(worker, number, acknowledged)
  local claimed, left, later = {}, false, nil
  -- A worker that was given up must not take tasks under a dead id.
  if get(K.workers, worker) then
    claimed, left, later = claim_for(worker, number, acknowledged, claim)
  elseif claim[1] + claim[2] > 0 then
    local _, first = survey(worker, claim)
    later = first
  end
  local timer = next_timer()
  if timer and (not later or timer < later) then
    later = timer
  end
  if dead or due or falling then
    later = now
  end
  return commit(
    nil,
    string.char(144 + 6) .. cmsgpack.pack(refused, ready, cancelled) .. packed_list(claimed)
      .. cmsgpack.pack(left, later or false)
  )
end)()
