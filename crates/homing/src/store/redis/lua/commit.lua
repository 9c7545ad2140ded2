-- The end of each verb: everything is written, and everybody is told.

-- A list of nine: time, the lane's commit counter, what the process says to those who listen, what follows failures and
-- was not made yet, retries that somebody has left halfway, and the answer of the verb, which is packed.
local function answered(counter, follows, packed_result)
  return string.char(144 + 9) .. cmsgpack.pack(
    now, counter, told.ready, told.noticed, told.ended, told.swept, follows, told.retries
  ) .. packed_result
end

-- Writes what was decided and returns the answer. `packed_result`: the answer of the verb, instead of `result`, where it
-- is packed.
local function commit(result, packed_result)
  wake_parents()
  settle()
  write_rows()
  local follows = {}
  for number in pairs(told.follows) do
    follows[#follows + 1] = { number, get(K.out, number) }
  end
  for number, blob in pairs(told.old) do
    follows[#follows + 1] = { number, blob }
  end
  -- From here on nothing is read and nothing can fail.
  write_all()
  for job in pairs(unlinked) do
    redis.call(
      'UNLINK', LANE .. 'j:' .. job, LANE .. 'g:' .. job, LANE .. 'k:' .. job, LANE .. 'f:' .. job
    )
  end
  local counter = redis.call('HINCRBY', K.meta, 'c', 1)
  if told.ready or told.noticed or #told.ended > 0 then
    local message = cmsgpack.pack({ asked[3], told.ready, told.noticed, told.ended })
    -- In a cluster, which declares one key more, to those who listen at the lane's node; else every node would be told.
    if KEYS[21] then
      redis.call('SPUBLISH', LANE .. 'hints', message)
    else
      redis.call('PUBLISH', LANE .. 'hints', message)
    end
  end
  return answered(counter, follows, packed_result or cmsgpack.pack(result))
end

-- Returns an answer and writes nothing.
local function answer_only(result)
  return cmsgpack.pack({ now, 0, false, false, {}, {}, {}, {}, result })
end
