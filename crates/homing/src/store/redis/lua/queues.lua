-- `queues`, the part about pending tasks: for each class its queue, how many are due, how many there are, since when
-- the first has been due, and whether they stand still. Reads only.
-- In a function of its own, since one function has 200 local names at most.

return (function()
  local answers = {}
  for _, class in ipairs(classes()) do
    local bytes, ready, oldest = due_bytes(now), 0, false
    local member = first_from('[' .. class.hash, class.hash)
    while member do
      local group = string.sub(member, 1, 10)
      local due = string.sub(member, 11, 18)
      if not less(bytes, due) then
        ready = ready
          + redis.call('ZLEXCOUNT', K.ready, '[' .. group, '[' .. group .. bytes .. LAST)
        local since = due_from(due)
        if not oldest or since < oldest then
          oldest = since
        end
      end
      member = first_from('(' .. group .. LAST, class.hash)
    end
    answers[#answers + 1] = { class.queue, ready, class.count, oldest, class.is_stalled }
  end
  return answer_only(answers)
end)()
