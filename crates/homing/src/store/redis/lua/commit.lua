-- The end of each verb: everything is written, and everybody is told.

-- Writes what was decided and returns the answer: time, the lane's commit counter, what the process says to those
-- who listen, what follows failures and was not made yet, and the answer of the verb.
local function commit(result)
  wake_parents()
  settle()
  write_rows()
  local follows = {}
  for number, blob in pairs(all(K.out)) do
    -- Another process may be at it; what is a second old it has left.
    if blob and (told.follows[number] or cmsgpack.unpack(blob)[4] < now - 1000000) then
      follows[#follows + 1] = { number, blob }
    end
  end
  -- From here on nothing is read and nothing can fail.
  write_hashes()
  write_sorted_sets()
  write_logs()
  write_watchers()
  for job in pairs(unlinked) do
    redis.call('UNLINK', LANE .. 'j:' .. job, LANE .. 'g:' .. job, LANE .. 'k:' .. job)
  end
  local counter = redis.call('HINCRBY', K.meta, 'c', 1)
  if told.ready or told.noticed or #told.ended > 0 then
    redis.call('PUBLISH', LANE .. 'hints', cmsgpack.pack({
      asked[3], told.ready, told.noticed, told.ended,
    }))
  end
  return cmsgpack.pack({
    now, counter, told.ready, told.noticed, told.ended, told.swept, follows, result,
  })
end

-- Returns an answer and writes nothing.
local function answer_only(result)
  return cmsgpack.pack({ now, 0, false, false, {}, {}, {}, result })
end
