-- `submit`: jobs come into being. Asked: jobs, and the numbers of what follows failures that they make good.

local answers = {}
for _, job in ipairs(asked[4][1]) do
  -- A submission from outside: no worker may live to end what is overdue.
  if job[7] and not root_of(job[1]) then
    holder_of(job[7])
    wake_parents()
  end
  local what, id = submit(job)
  answers[#answers + 1] = { what, id }
end
for _, number in ipairs(asked[4][2]) do
  put(K.out, number, false)
end
return commit(answers)
