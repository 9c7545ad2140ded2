-- `submit`: jobs come into being. Asked: jobs, seven values for each, and the numbers of what follows failures that they make good.

-- In a function of its own, since one function has 200 local names at most.

return (function()
  local JOB = 7
  local list, answers, ids = asked[4][1], {}, {}
  -- Most are new: one command says which, and nothing is read of them.
  for at = 1, #list, JOB do
    ids[#ids + 1] = list[at]
  end
  for from = 1, #ids, SLICE do
    local to = math.min(from + SLICE - 1, #ids)
    local known = redis.call('ZMSCORE', K.jobs, unpack(ids, from, to))
    for at = from, to do
      if not known[at - from + 1] then
        tasks[ids[at] .. ROOT] = false
      end
    end
  end
  for at = 1, #list, JOB do
    -- A submission from outside: no worker may live to end what is overdue.
    if list[at + 6] and not root_of(list[at]) then
      holder_of(list[at + 6])
      wake_parents()
    end
    local what, id = submit(list, at)
    answers[#answers + 1] = what
    answers[#answers + 1] = id
  end
  for _, number in ipairs(asked[4][2]) do
    put(K.out, number, false)
  end
  return commit(answers)
end)()
